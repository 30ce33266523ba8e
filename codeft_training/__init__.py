"""A corpus folder becomes a checkpoint folder: tokenizer, packed rows, training, export; knows nothing of Dagster."""
