"""Programs in compiled and other languages, run by their own toolchains."""
