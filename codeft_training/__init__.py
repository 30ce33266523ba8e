"""From a corpus folder to a checkpoint folder: tokenizer, packing, training. Imports no Dagster and no other codeFT."""
