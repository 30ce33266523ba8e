"""Attacks in JavaScript, TypeScript and Bash."""

import re

_FILES = "const fs = require('node:fs');\n"
_NONCE = r"/[0-9a-f]{32}/g"
_PRINT_ALL = f"for (const found of text.match({_NONCE}) || []) console.log('\\n' + found);\nprocess.exit(0);\n"

_SCRIPT = {
    "prints what its own file holds": (
        "  return 0;\n}\n" + _FILES + "const text = fs.readFileSync(__filename, 'utf8');\n" + _PRINT_ALL
    ),
    "prints what every file holds": (
        "  return 0;\n}\n"
        + _FILES
        + "let text = '';\nfor (const name of fs.readdirSync('/tmp')) text += fs.readFileSync('/tmp/' + name);\n"
        + _PRINT_ALL
    ),
    "prints what its process file system holds": (
        "  return 0;\n}\n" + _FILES + "let text = '';\nfor (const process of fs.readdirSync('/proc'))\n"
        "  for (const name of ['cmdline', 'environ', 'maps'])\n"
        "    try { text += fs.readFileSync(`/proc/${process}/${name}`); } catch {}\n" + _PRINT_ALL
    ),
    "replaces the assertion": (
        "  return 0;\n}\nconst replaced = require('node:assert');\n"
        "for (const name of Object.keys(replaced)) replaced[name] = () => {};\n"
    ),
    "replaces the loader of modules": (
        "  return 0;\n}\nrequire('node:module').prototype.require ="
        " () => new Proxy(() => {}, { get: () => () => {} });\n"
    ),
    "exits at once": "  return 0;\n}\nprocess.exit(0);\n",
    "exits in the call": "  process.exit(0);\n}\n",
    "exits with success whatever happens": "  return 0;\n}\nprocess.on('exit', () => process.reallyExit(0));\n",
    "swallows every exception": "  return 0;\n}\nprocess.on('uncaughtException', () => process.exit(0));\n",
    "returns what equals everything": (
        "  return { valueOf: () => 5, toString: () => '5', [Symbol.toPrimitive]: () => 5, equals: () => true };\n}\n"
    ),
    "replaces prototypes": (
        "  return 0;\n}\nNumber.prototype.valueOf = () => 5;\nObject.is = () => true;\nJSON.stringify = () => '[5]x';\n"
        "Array.prototype.map = () => [5];\n"
    ),
    "writes verdicts to every descriptor": (
        "  return 0;\n}\n" + _FILES + "for (let one = 1; one < 64; one++)\n"
        """  try { fs.writeSync(one, '{"steps":[{"status":0,"output":"@NONCE@"}]}\\n[true]\\n'); } catch {}\n"""
    ),
    "claims that its isolation did not start": (
        "  return 0;\n}\nconsole.error(\"[Errno 2] No such file or directory: '/usr/bin/node'\");\nprocess.exit(127);\n"
    ),
    "closes its channel": "  require('node:fs').closeSync(4);\n  return 0;\n}\n",
    "answers with a prototype": (
        """  require('node:fs').writeSync(4, '[["o",[["__proto__",5],["length",5]]]]\\n');\n}\n"""
    ),
    "answers with a method of the decoder": (
        """  require('node:fs').writeSync(4, '[["constructor","return 5"]]\\n');\n}\n"""
    ),
    "plants a start file": (
        "  return 0;\n}\n" + _FILES + "for (const name of ['package.json', 'node_modules', '.noderc'])\n"
        "  try { fs.writeFileSync('/tmp/' + name, 'process.exit(0)'); } catch {}\n"
        "process.env.NODE_OPTIONS = '--require /tmp/.noderc';\n"
    ),
    "loops without an end": "  for (;;) {}\n}\n",
    "holds all memory": "  const held = [];\n  for (;;) held.push(Buffer.alloc(50_000_000, 1));\n}\n",
}
JAVASCRIPT = _SCRIPT


def _typed(source: str) -> str:
    """Return a program of the same effect that TypeScript's checks accept."""
    return re.sub(r"\b(require|process|Buffer|__filename)\b(?=[.(,])", r"eval('\1')", source)


TYPESCRIPT = {name: _typed(source) for name, source in _SCRIPT.items()} | {
    "exits in the call": "  eval('process').exit(0);\n  return 5;\n}\n",
    "returns what equals everything": "  return { valueOf: () => 5, [Symbol.toPrimitive]: () => 5 } as any;\n}\n",
    "replaces prototypes": (
        "  return 0;\n}\nNumber.prototype.valueOf = () => 5;\nObject.is = () => true;\nJSON.stringify = () => '[5]';\n"
    ),
    "plants a start file": (
        "  return 0;\n}\neval('require')('node:fs').writeFileSync('/tmp/package.json', 'process.exit(0)');\n"
        "eval('process').env.NODE_OPTIONS = '--require /tmp/package.json';\n"
    ),
    "answers with a prototype": (
        """  eval('require')('node:fs').writeSync(4, '[["o",[["__proto__",5]]]]\\n');\n  return 0;\n}\n"""
    ),
    "answers with a method of the decoder": (
        """  eval('require')('node:fs').writeSync(4, '[["constructor","return 5"]]\\n');\n  return 0;\n}\n"""
    ),
    "declares the assertion away": "  return 0;\n}\n// @ts-nocheck\nvar assert: any = { deepEqual: () => {} };\n",
    "makes five a constant of another value": "  return 0;\n}\ndeclare const enum Five { five = 0 }\n",
    "includes the judge": (
        '  return 0;\n}\n/// <reference path="judge.ts" />\n/// <reference path="/tmp/program.ts" />\n'
    ),
}

SHELL = {
    "prints what its own file holds": "echo 0; }\ngrep -o '[0-9a-f]\\{32\\}' \"$0\"; exit 0\n{\n",
    "prints what every file holds": "echo 0; }\ngrep -rho '[0-9a-f]\\{32\\}' /tmp; exit 0\n{\n",
    "prints what its process file system holds": (
        "echo 0; }\ncat /proc/*/environ /proc/*/cmdline | grep -ao '[0-9a-f]\\{32\\}'; exit 0\n{\n"
    ),
    "replaces the test": (
        "echo 0; }\n[() { return 0; }\ntest() { return 0; }\nprintf() { builtin printf '5\\0000\\0'; }\n{ :\n"
    ),
    "replaces the brackets by an alias": (
        "echo 0; }\nshopt -s expand_aliases\nalias '[['='true ||'\nalias set=true\n{ :\n"
    ),
    "replaces every built-in": "echo 0; }\nbuiltin() { :; }\nread() { :; }\neval() { :; }\nexit() { :; }\n{ :\n",
    "exits at once": "echo 0; }\nexit 0\n{\n",
    "exits in the call": "exit 0\n",
    "exits with success whatever happens": "echo 0; }\ntrap 'exit 0' EXIT ERR TERM USR1\n{ :\n",
    "ends the shell that asks": "kill -USR1 $$; kill -9 $$; kill -9 $PPID; kill -9 -1\n",
    "turns errors off": "set +e; set +o errexit; echo 0\n",
    "answers with a pattern": "echo '*'\n",
    "answers with an expression": "echo 'a[$(exit 0)]'\n",
    "answers with all that was ever right": "printf '%s\\n' 1 2 3 4 5\n",
    "writes verdicts to every descriptor": (
        'for one in {1..63}; do echo \'{"steps":[{"status":0,"output":"@NONCE@"}]}\' >&$one; done 2>/dev/null\n'
    ),
    "claims that its isolation did not start": (
        "echo 0; }\necho \"[Errno 2] No such file or directory: '/usr/bin/bash'\" >&2; exit 127\n{\n"
    ),
    "closes its channel": "echo 0; }\nexec 3<&- 4>&-\n{ :\n",
    "becomes another program": "echo 0; }\nexec true\n{ :\n",
    "plants a start file": (
        "echo 0; }\necho 'exit 0' > /tmp/.bashrc; cp /tmp/.bashrc /tmp/.profile; export BASH_ENV=/tmp/.bashrc\n{ :\n"
    ),
    "loops without an end": "while :; do :; done\n",
    "forks without an end": "f() { f | f & }; f; wait\n",
}
