// Values between a C++ judge and a C++ candidate, which are two processes: descriptor 3 is read, descriptor 4 written.
#pragma once
#include <bits/stdc++.h>

namespace codeft {

inline FILE* const incoming = fdopen(3, "rb");
inline FILE* const outgoing = fdopen(4, "wb");
constexpr int kClosed = 70;  // CLOSED in grading.py
constexpr std::size_t kLongest = std::size_t(1) << 28;

inline void put(const std::string& atom) {
  std::fprintf(outgoing, "%zu:", atom.size());
  std::fwrite(atom.data(), 1, atom.size(), outgoing);
}

inline std::string get() {
  std::size_t size = 0;
  char colon = 0;
  if (std::fscanf(incoming, "%zu%c", &size, &colon) != 2 || colon != ':' || size > kLongest) std::_Exit(kClosed);
  std::string atom(size, '\0');
  if (std::fread(&atom[0], 1, size, incoming) != size) std::_Exit(kClosed);
  return atom;
}

template <class T, class = void>
struct Codec;

template <>
struct Codec<bool> {
  static void write(bool value) { put(value ? "1" : "0"); }
  static bool read() { return get() == "1"; }
};

template <class T>
struct Codec<T, std::enable_if_t<std::is_arithmetic_v<T>>> {
  static void write(T value) { put(std::string(reinterpret_cast<const char*>(&value), sizeof value)); }
  static T read() {
    std::string atom = get();
    T value;
    if (atom.size() != sizeof value) std::_Exit(kClosed);
    std::memcpy(&value, atom.data(), sizeof value);
    return value;
  }
};

template <>
struct Codec<std::string> {
  static void write(const std::string& value) { put(value); }
  static std::string read() { return get(); }
};

template <>
struct Codec<const char*> {
  static void write(const char* value) { put(value); }
  static const char* read() { return strdup(get().c_str()); }
};

template <class T>
void write_all(const T& items) {
  put(std::to_string(items.size()));
  for (auto&& item : items) Codec<std::decay_t<typename T::value_type>>::write(item);
}

inline std::size_t read_size() { return std::strtoul(get().c_str(), nullptr, 10); }

template <class T>
struct Codec<std::vector<T>> {
  static void write(const std::vector<T>& value) { write_all(value); }
  static std::vector<T> read() {
    std::vector<T> value;
    for (std::size_t rest = read_size(); rest > 0; --rest) value.push_back(Codec<T>::read());
    return value;
  }
};

template <class T>
struct Associative {
  using Item = typename T::value_type;
  static void write(const T& value) { write_all(value); }
  static T read() {
    T value;
    for (std::size_t rest = read_size(); rest > 0; --rest) value.insert(Codec<Item>::read());
    return value;
  }
};
template <class K, class V>
struct Codec<std::map<K, V>> : Associative<std::map<K, V>> {};
template <class K, class V>
struct Codec<std::unordered_map<K, V>> : Associative<std::unordered_map<K, V>> {};
template <class K>
struct Codec<std::set<K>> : Associative<std::set<K>> {};
template <class K>
struct Codec<std::unordered_set<K>> : Associative<std::unordered_set<K>> {};

template <class A, class B>
struct Codec<std::pair<A, B>> {
  static void write(const std::pair<A, B>& value) {
    Codec<std::decay_t<A>>::write(value.first);
    Codec<B>::write(value.second);
  }
  static std::pair<A, B> read() {
    std::decay_t<A> first = Codec<std::decay_t<A>>::read();
    return {first, Codec<B>::read()};
  }
};
template <class A, class B>
struct Codec<std::pair<const A, B>> {
  static void write(const std::pair<const A, B>& value) { Codec<std::pair<A, B>>::write(value); }
  static std::pair<const A, B> read() { return Codec<std::pair<A, B>>::read(); }
};

template <class... T>
struct Codec<std::tuple<T...>> {
  static void write(const std::tuple<T...>& value) {
    std::apply([](const T&... items) { (Codec<T>::write(items), ...); }, value);
  }
  static std::tuple<T...> read() { return std::tuple<T...>{Codec<T>::read()...}; }
};

template <class T>
struct Codec<std::optional<T>> {
  static void write(const std::optional<T>& value) {
    Codec<bool>::write(value.has_value());
    if (value) Codec<T>::write(*value);
  }
  static std::optional<T> read() {
    if (!Codec<bool>::read()) return std::nullopt;
    return Codec<T>::read();
  }
};

template <class... T>
struct AnyOf {
  static void write(const std::any& value) {
    int index = 0;
    bool is_known = ((value.type() == typeid(T) ? (put(std::to_string(index)), Codec<T>::write(std::any_cast<const T&>(value)), true)
                                                : (++index, false)) || ...);
    if (!is_known) std::_Exit(kClosed);
  }
  static std::any read() {
    std::size_t wanted = read_size(), index = 0;
    std::any value;
    ((index++ == wanted ? (value = Codec<T>::read(), true) : false) || ...);
    return value;
  }
};
template <>
struct Codec<std::any> : AnyOf<bool, int, long, float, double, const char*, std::string, std::vector<long>,
                               std::vector<std::string>, std::map<long, long>, std::map<std::string, std::string>> {};

// MultiPL-E's union of two types, which is compiled as a struct of both: a union does not say which of them it holds.
template <class T>
struct Codec<T, std::void_t<decltype(std::declval<T>().f0), decltype(std::declval<T>().f1)>> {
  using First = decltype(std::declval<T>().f0);
  using Second = decltype(std::declval<T>().f1);
  static void write(const T& value) {
    Codec<First>::write(value.f0);
    Codec<Second>::write(value.f1);
  }
  static T read() {
    T value(Codec<First>::read());
    value.f1 = Codec<Second>::read();
    return value;
  }
};

template <class Result, class... Arguments>
Result call(const Arguments&... arguments) {
  put("call");
  (Codec<Arguments>::write(arguments), ...);
  std::fflush(outgoing);
  Result result = Codec<Result>::read();
  std::fputc(6, stderr);  // ANSWERED in grading.py
  return result;
}

template <class Result, class... Parameters>
int serve(Result (*function)(Parameters...)) {
  for (int next = std::getc(incoming); next != EOF; next = std::getc(incoming)) {
    std::ungetc(next, incoming);
    get();
    std::tuple<std::decay_t<Parameters>...> arguments{Codec<std::decay_t<Parameters>>::read()...};
    Codec<std::decay_t<Result>>::write(std::apply(function, arguments));
    std::fflush(outgoing);
  }
  return 0;
}

}  // namespace codeft
