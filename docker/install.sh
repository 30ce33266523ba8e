#!/bin/sh
# install.sh NAME [EXTRA ...]: installs what an image needs, each file checked against its hash in requirements.lock.
set -eu
python3 requirements.py "$@" > wanted.txt
pip install --dry-run --quiet --report plan.json --requirement wanted.txt
python3 locked.py < plan.json > locked.txt
pip install --require-hashes --no-deps --requirement locked.txt
# the tests inside installed packages: a tenth of the image
find /opt/venv -type d -name tests -prune -exec rm -rf {} +
