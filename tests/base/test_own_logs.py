"""A program prints what the project logs; of the libraries their warnings, once."""

import subprocess
import sys

LOG = """
import logging
import huggingface_hub.utils.logging
from codeft_eval import __main__, commands
def fetch(options, reporter):
    logging.getLogger("huggingface_hub.utils").warning("retrying")
    logging.getLogger("httpx2").info("GET 200")
    logging.getLogger("codeft_eval.any").info("ours")
    return 0
commands.fetch = fetch
__main__.main(["fetch"])
"""


def test_a_warning_of_the_hubs_client_is_printed_once_and_notes_of_libraries_not():
    done = subprocess.run([sys.executable, "-c", LOG], capture_output=True, text=True)
    assert done.stderr.splitlines() == ["retrying", "ours"]
