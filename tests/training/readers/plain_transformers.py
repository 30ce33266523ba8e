"""Loads a folder with the transformers of this interpreter, whatever its version, and prints what it read as JSON."""

import json
import sys


def read(folder, texts):
    import torch
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype="auto")
    ids = [tokenizer(text)["input_ids"] for text in texts]
    chat = transformers.pipeline("text-generation", model=model, tokenizer=tokenizer)
    messages = [{"role": "user", "content": texts[0]}]
    [reply] = chat(messages, max_new_tokens=20, do_sample=False, return_full_text=False)
    return {
        "version": transformers.__version__,
        "dtype": str(model.dtype),
        "ids": ids,
        "reply": tokenizer(reply["generated_text"])["input_ids"],
        "stops": model.generation_config.eos_token_id,
        "logits": [model.float()(torch.tensor([row])).logits[0].tolist() for row in ids],
    }


print(json.dumps(read(sys.argv[1], json.loads(sys.argv[2]))))
