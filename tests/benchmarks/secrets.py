"""Measures redaction: see ``redaction.py``.

    python tests/benchmarks/secrets.py [--json]

Python finds this file, too, when a benchmark beside it imports the standard library's module of the same name (numpy
does): to them it is that module.
"""

import sys
import sysconfig
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))
    from tests.benchmarks.redaction import main

    main()
else:
    _SOURCE = Path(sysconfig.get_path("stdlib")) / "secrets.py"
    exec(compile(_SOURCE.read_text(encoding="utf-8"), str(_SOURCE), "exec"))
