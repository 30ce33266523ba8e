"""From a corpus folder to the batches of a step: tokenizer, encoding, packing into rows, and the order of rows."""
