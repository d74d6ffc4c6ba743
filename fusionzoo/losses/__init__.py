"""Losses as pure functions of tensors; trainers and fusions choose and weigh them."""
