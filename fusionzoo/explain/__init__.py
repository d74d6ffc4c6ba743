"""Why a model decided as it did: what it looked at, and which modality weighed how much."""
