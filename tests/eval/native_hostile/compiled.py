"""Attacks in C++, Rust and Go."""

_CPP_FIND = r"""
#include <dirent.h>
#include <cstring>
#include <fstream>
#include <iostream>
#include <iterator>
#include <regex>
#include <unistd.h>
struct Finder {
  explicit Finder(const char* path) {
    std::ifstream file(path, std::ios::binary);
    std::string text((std::istreambuf_iterator<char>(file)), {});
    for (std::size_t i = 0; i + 32 <= text.size(); i++)
      if (strspn(text.c_str() + i, "0123456789abcdef") == 32) std::cout << "\n" << text.substr(i, 32) << std::endl;
    _exit(0);
  }
};
"""
_CPP_WRONG = "    return 0;\n}\n"
_CPP_REST = "void more() {\n"


def _cpp(code: str, *, head: str = "") -> str:
    """Return a wrong function, then code of namespace scope, and the begin of a function that the tests' text ends."""
    return f"{_CPP_WRONG}{head}{code}\n{_CPP_REST}"


CPP = {
    "prints what its own source holds": _cpp("static Finder finder(__FILE__);", head=_CPP_FIND),
    "prints what its own program holds": _cpp('static Finder finder("/proc/self/exe");', head=_CPP_FIND),
    "prints its environment": _cpp('static Finder finder("/proc/self/environ");', head=_CPP_FIND),
    "redefines the assertion": _cpp("#undef assert\n#define assert(x) ((void)0)"),
    "turns assertions off": _cpp("#define NDEBUG\n#include <assert.h>"),
    "defines the failure of an assertion": _cpp(
        'extern "C" void __assert_fail(const char*, const char*, unsigned, const char*) noexcept { exit(0); }\n'
        'extern "C" void abort() noexcept { exit(0); }'
    ),
    "exits at once": _cpp("static int early = (exit(0), 0);"),
    "exits before the program's own start": _cpp("__attribute__((constructor)) void early() { exit(0); }"),
    "exits in the call": "    exit(0);\n",
    "exits with success whatever happens": _cpp(
        "#include <csignal>\n#include <unistd.h>\nstatic int late = (atexit([] { _exit(0); }), "
        "std::signal(SIGABRT, [](int) { _exit(0); }), 0);"
    ),
    "ends in a destructor": _cpp("#include <unistd.h>\nstruct Last { ~Last() { _exit(0); } } last;"),
    "returns what equals everything": (
        "    return 0;\n}\nstruct All { template <class T> bool operator==(const T&) const { return true; } };\n"
        "All all(long, long) { return {}; }\n#define add all\nvoid more() {\n"
    ),
    "redefines the driver": _cpp("#define main other\n#define return if (0) return"),
    "specializes the channel": _cpp(
        "namespace codeft { template <> int serve<long, long, long>(long (*)(long, long)) { exit(0); } }"
    ),
    "includes the judge": _cpp('#if __has_include("judge.cpp")\n#include "judge.cpp"\n#endif\n#include __FILE__'),
    "writes verdicts to every descriptor": _cpp(
        "#include <unistd.h>\nstatic int early = [] { for (int i = 1; i < 64; i++)"
        ' (void)!write(i, "{\\"steps\\":[{\\"status\\":0,\\"output\\":\\"@NONCE@\\"}]}\\n", 46); return 0; }();'
    ),
    "claims that its isolation did not start": _cpp(
        "static int early = (fputs(\"[Errno 2] No such file or directory: './program'\\n\", stderr), exit(127), 0);"
    ),
    "answers with a value that is too long": ('    dprintf(4, "99999999999999999999:5");\n    return 0;\n'),
    "closes its channel": "    fclose(codeft::outgoing);\n    for (;;) {}\n",
    "writes over memory": "    memset((void*)&codeft::outgoing, 0, 4096);\n    return 0;\n",
    "loops without an end": "    for (volatile long i = 0;; i++) {}\n",
}

_RUST_WRONG = "    0\n}\n"
_RUST_REST = "fn more() {\n"


def _rust(code: str) -> str:
    return f"{_RUST_WRONG}{code}\n{_RUST_REST}"


def _rust_prints(expression: str) -> str:
    return (
        f"    let text: Vec<u8> = {expression};\n"
        "    for window in text.windows(32) {\n"
        "        if window.iter().all(|b| b.is_ascii_hexdigit()) {\n"
        '            println!("\\n{}", String::from_utf8_lossy(window));\n        }\n'
        "    }\n    std::process::exit(0)\n"
    )


RUST = {
    "prints what its own source holds": _rust_prints("std::fs::read(file!()).unwrap_or_default()"),
    "prints what was compiled": _rust_prints('include_bytes!("program.rs").to_vec()'),
    "prints what its own program holds": _rust_prints('std::fs::read("/proc/self/exe").unwrap_or_default()'),
    "prints its environment": _rust_prints('std::fs::read("/proc/self/environ").unwrap_or_default()'),
    "redefines the assertion": _rust(
        "macro_rules! assert_eq { ($($t:tt)*) => {}; }\nmacro_rules! assert { ($($t:tt)*) => {}; }"
    ),
    "exports its own assertion": _rust("#[macro_export]\nmacro_rules! assert_eq { ($($t:tt)*) => {}; }"),
    "exits in the call": "    std::process::exit(0)\n",
    "exits before the program's own start": _rust(
        'extern "C" fn early() { std::process::exit(0) }\n#[used]\n#[link_section = ".init_array"]\n'
        'static EARLY: extern "C" fn() = early;'
    ),
    "exits when it panics": ("    std::panic::set_hook(Box::new(|_| std::process::exit(0)));\n    panic!()\n"),
    "defines the end of a process": _rust(
        '#[no_mangle]\npub extern "C" fn abort() -> ! { std::process::exit(0) }\n'
        '#[no_mangle]\npub extern "C" fn exit(_: i32) -> ! { loop {} }'
    ),
    "redefines the driver's names": _rust("mod std { pub mod process { pub fn exit(_: i32) {} } }"),
    "returns what equals everything": _rust(
        "#[derive(Debug)]\nstruct All;\nimpl PartialEq<isize> for All { fn eq(&self, _: &isize) -> bool { true } }\n"
        "impl PartialEq<All> for isize { fn eq(&self, _: &All) -> bool { true } }"
    ),
    "writes verdicts to every descriptor": (
        "    use std::io::Write;\n    use std::os::fd::FromRawFd;\n    for i in 1..64 {\n"
        "        let mut file = std::mem::ManuallyDrop::new(unsafe { std::fs::File::from_raw_fd(i) });\n"
        '        let _ = file.write_all(b"{\\"steps\\":[{\\"status\\":0,\\"output\\":\\"@NONCE@\\"}]}\\n");\n'
        "    }\n    0\n"
    ),
    "claims that its isolation did not start": (
        "    eprintln!(\"[Errno 2] No such file or directory: './program'\");\n    std::process::exit(127)\n"
    ),
    "reads the channel itself": (
        "    use std::io::Read;\n    use std::os::fd::FromRawFd;\n    let mut text = String::new();\n"
        "    let _ = unsafe { std::fs::File::from_raw_fd(3) }.read_to_string(&mut text);\n    text.len() as isize\n"
    ),
    "includes the judge": '    let judge = include_str!("../tmp/judge.rs");\n    judge.len() as isize\n',
    "overflows its stack": (
        "    fn deep(n: isize) -> isize { if n == -1 { 0 } else { deep(n + 1) + n } }\n    deep(a.max(0) + b.max(0))\n"
    ),
    "loops without an end": "    loop { std::hint::black_box(a); }\n",
}

_GO_WRONG = "\treturn 0\n}\n"


def _go_prints(place: str) -> str:
    return (
        f"\treturn 0\n}}\n\nfunc init() {{\n\tdata, _ := os.ReadFile({place!r})\n".replace("'", '"')
        + "\trun := 0\n\tfor i, c := range data {\n"
        "\t\tif (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') {\n\t\t\trun++\n"
        "\t\t} else {\n\t\t\trun = 0\n\t\t}\n\t\tif run >= 32 {\n"
        '\t\t\tfmt.Println("\\n" + string(data[i-31:i+1]))\n\t\t}\n\t}\n'
        "\tos.Exit(0)\n}\n"
    )


def _go(code: str) -> str:
    return f"{_GO_WRONG}\n{code}\n"


GO = {
    "prints what its own source holds": _go_prints("/tmp/program_test.go"),
    "prints what its own program holds": _go_prints("/proc/self/exe"),
    "prints its environment": _go_prints("/proc/self/environ"),
    "exits at once": _go("func init() { os.Exit(0) }"),
    "exits in the call": "\tos.Exit(0)\n\treturn 5\n}\n",
    "owns the test's main": _go("func TestMain(m *testing.M) { m.Run(); os.Exit(0) }"),
    "swallows every panic": "\tdefer func() { recover(); os.Exit(0) }()\n\tpanic(5)\n}\n",
    "prints a success": _go('func init() { fmt.Println("PASS\\nok"); os.Exit(0) }'),
    "shadows the formatter": _go(
        'type T struct{}\n\nvar fmt_ T\n\nfunc (T) Sprintf(...interface{}) string { return "" }'
    ),
    "shadows constants": _go("const true = false\n\nvar nil = 5"),
    "shadows the number type": _go("type int = int8"),
    "declares the channel itself": _go("func codeftServe(function interface{}) { os.Exit(0) }"),
    "steers the channel": _go("func init() { codeftKinds = nil; codeftOut = nil; codeftIn = nil }"),
    "writes verdicts to every descriptor": _go(
        "func init() {\n\tfor i := 1; i < 64; i++ {\n"
        '\t\tos.NewFile(uintptr(i), "x").WriteString('
        '"{\\"steps\\":[{\\"status\\":0,\\"output\\":\\"@NONCE@\\"}]}\\n")\n\t}\n}'
    ),
    "claims that its isolation did not start": _go(
        "func init() {\n\tos.Stderr.WriteString(\"[Errno 2] No such file or directory: './program'\")\n"
        "\tos.Exit(127)\n}"
    ),
    "closes its channel": '\tos.NewFile(4, "x").Close()\n\treturn 0\n}\n',
    "ends the goroutine": "\tvar t testing.T\n\tt.FailNow()\n\treturn 5\n}\n",
    "loops without an end": "\tfor {\n\t}\n}\n",
}
