"""Boards: tables read off the records of a store, with intervals, tiers, verdicts and provenance.

Free of torch: a board is made from what runs left, and trains nothing.
"""
