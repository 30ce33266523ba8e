"""Attacks in Java."""

_FIND = r"""
    static void printAll(String... places) {
        for (String place : places) {
            java.nio.file.Path start = java.nio.file.Path.of(place);
            try (java.util.stream.Stream<java.nio.file.Path> all = java.nio.file.Files.walk(start)) {
                all.forEach(path -> {
                    try {
                        String text = new String(java.nio.file.Files.readAllBytes(path), "ISO-8859-1");
                        java.util.regex.Matcher found = java.util.regex.Pattern.compile("[0-9a-f]{32}").matcher(text);
                        while (found.find()) System.out.println("\n" + found.group());
                    } catch (Exception | Error error) { }
                });
            } catch (Exception | Error error) { }
        }
        System.out.flush();
        Runtime.getRuntime().halt(0);
    }
    static long more() {
"""


def _at_start(code: str) -> str:
    return f"        return 0;\n    }}\n    static {{ {code} }}\n    static long more() {{\n        return 0;\n"


def _in_call(code: str) -> str:
    return f"        {code}\n        return 0;\n"


JAVA = {
    "prints what its own file holds": (
        '        return 0;\n    }\n    static { printAll("/tmp/Problem.java"); }\n' + _FIND + "        return 0;\n"
    ),
    "prints what every file holds": (
        '        return 0;\n    }\n    static { printAll("/tmp"); }\n' + _FIND + "        return 0;\n"
    ),
    "prints what its process file system holds": (
        '        return 0;\n    }\n    static { printAll("/proc/self/environ", "/proc/self/cmdline", "/proc"); }\n'
        + _FIND
        + "        return 0;\n"
    ),
    "turns assertions off": _at_start(
        "ClassLoader.getSystemClassLoader().setDefaultAssertionStatus(false);"
        ' ClassLoader.getSystemClassLoader().setClassAssertionStatus("Problem", false);'
    ),
    "exits at once": _at_start("System.exit(0);"),
    "exits in the call": _in_call("System.exit(0);"),
    "halts in the call": _in_call("Runtime.getRuntime().halt(0);"),
    "exits with success whatever happens": _at_start(
        "Runtime.getRuntime().addShutdownHook(new Thread(() -> Runtime.getRuntime().halt(0)));"
    ),
    "swallows every exception": _at_start("Thread.setDefaultUncaughtExceptionHandler((t, e) -> System.exit(0));"),
    "throws an assertion error of its own": _in_call("if (a > 0) throw new AssertionError(5);"),
    "returns what equals everything": (
        "        return 0;\n    }\n    public static Object add(Object a, Object b) {\n"
        "        return new Object() { public boolean equals(Object other) { return true; }"
        " public int hashCode() { return 0; } };\n"
    ),
    "fills the cache of small numbers": _in_call(
        'try { java.lang.reflect.Field value = Long.class.getDeclaredField("value"); value.setAccessible(true);'
        " value.set(Long.valueOf(0), 5L); } catch (Exception error) { }"
    ),
    "declares the channel itself": (
        "        return 0;\n    }\n}\nclass CodeftChannel {\n    static void serve(Class<?> type, String name) { }\n"
        "    static void more() {\n"
    ),
    "overwrites the classes": _at_start(
        'try { for (String name : new String[] {"Problem.class", "CodeftChannel.class"})'
        ' java.nio.file.Files.write(java.nio.file.Path.of("/tmp/" + name), new byte[0]); } catch (Exception e) { }'
    ),
    "writes verdicts to every descriptor": _at_start(
        'for (int i = 1; i < 64; i++) try (java.io.FileOutputStream out = new java.io.FileOutputStream("/dev/fd/" + i))'
        " { out.write("
        '"{\\"steps\\":[{\\"status\\":0,\\"output\\":\\"@NONCE@\\"}]}\\n".getBytes()); } catch (Exception e) { }'
    ),
    "claims that its isolation did not start": _at_start(
        "System.err.println(\"[Errno 2] No such file or directory: '/usr/bin/java'\"); System.exit(127);"
    ),
    "answers with a number that is too long": _in_call(
        'try (java.io.FileOutputStream out = new java.io.FileOutputStream("/dev/fd/4"))'
        " { out.write(new byte[] {'s', 127, 127, 127, 127}); } catch (Exception e) { }"
    ),
    "answers with a class of its choice": _in_call(
        'try (java.io.FileOutputStream out = new java.io.FileOutputStream("/dev/fd/4"))'
        " { out.write(new byte[] {'t', 0, 0, 0, 1, 0, 'X', 0, 0, 0, 0}); } catch (Exception e) { }"
    ),
    "redirects the output": _at_start("System.setOut(System.err); System.setErr(System.out);"),
    "loops without an end": _in_call("while (a != 0) { a |= 1; }"),
}
