"""Loads a GGUF file with llama.cpp and prints tokens, logits and the tokens that end a generation as JSON."""

import json
import sys


def read(path, texts):
    import llama_cpp

    model = llama_cpp.Llama(model_path=path, n_ctx=64, logits_all=True, verbose=False, n_threads=1)
    vocabulary = llama_cpp.llama_model_get_vocab(model.model)
    found = {"ids": [], "logits": [], "eot": llama_cpp.llama_vocab_eot(vocabulary)}
    found["ends"] = [token for token in range(model.n_vocab()) if llama_cpp.llama_vocab_is_eog(vocabulary, token)]
    for text in texts:
        ids = model.tokenize(text.encode(), add_bos=False, special=True)
        model.reset()
        model.eval(ids)
        found["ids"].append(ids)
        found["logits"].append(model.scores[: len(ids)].tolist())
    return found


print(json.dumps(read(sys.argv[1], json.loads(sys.argv[2]))))
