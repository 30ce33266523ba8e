// Values between a Rust judge and a Rust candidate, which are two processes: descriptor 3 is read, descriptor 4 written.
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::hash::Hash;
use std::io::{Read, Write};
use std::mem::ManuallyDrop;
use std::os::fd::FromRawFd;

const CLOSED: i32 = 70; // CLOSED in grading.py

pub trait Value: Sized {
    fn write(&self, out: &mut Vec<u8>);
    fn read(data: &mut &[u8]) -> Self;
}

fn closed() -> ! {
    std::process::exit(CLOSED)
}

fn take<'a>(data: &mut &'a [u8], size: usize) -> &'a [u8] {
    if data.len() < size {
        closed()
    }
    let (head, tail) = data.split_at(size);
    *data = tail;
    head
}

macro_rules! numbers {
    ($($kind:ty),*) => {$(
        impl Value for $kind {
            fn write(&self, out: &mut Vec<u8>) { out.extend_from_slice(&self.to_le_bytes()) }
            fn read(data: &mut &[u8]) -> Self {
                <$kind>::from_le_bytes(take(data, std::mem::size_of::<$kind>()).try_into().unwrap())
            }
        }
    )*};
}
numbers!(i8, i16, i32, i64, i128, isize, u8, u16, u32, u64, u128, usize, f32, f64);

impl Value for bool {
    fn write(&self, out: &mut Vec<u8>) { out.push(*self as u8) }
    fn read(data: &mut &[u8]) -> Self { take(data, 1)[0] == 1 }
}

impl Value for char {
    fn write(&self, out: &mut Vec<u8>) { (*self as u32).write(out) }
    fn read(data: &mut &[u8]) -> Self { char::from_u32(u32::read(data)).unwrap_or_else(|| closed()) }
}

impl Value for String {
    fn write(&self, out: &mut Vec<u8>) {
        self.len().write(out);
        out.extend_from_slice(self.as_bytes())
    }
    fn read(data: &mut &[u8]) -> Self {
        let size = usize::read(data);
        String::from_utf8(take(data, size).to_vec()).unwrap_or_else(|_| closed())
    }
}

impl<T: Value> Value for Option<T> {
    fn write(&self, out: &mut Vec<u8>) {
        self.is_some().write(out);
        if let Some(value) = self { value.write(out) }
    }
    fn read(data: &mut &[u8]) -> Self {
        if bool::read(data) { Some(T::read(data)) } else { None }
    }
}

macro_rules! collections {
    ($([$($bounds:tt)*] $kind:ty, $item:ty;)*) => {$(
        impl<$($bounds)*> Value for $kind {
            fn write(&self, out: &mut Vec<u8>) {
                self.len().write(out);
                for item in self.iter() { item.write_item(out) }
            }
            fn read(data: &mut &[u8]) -> Self {
                (0..usize::read(data)).map(|_| <$item>::read(data)).collect()
            }
        }
    )*};
}
trait Item {
    fn write_item(&self, out: &mut Vec<u8>);
}
impl<T: Value> Item for &T {
    fn write_item(&self, out: &mut Vec<u8>) { (*self).write(out) }
}
impl<K: Value, V: Value> Item for (&K, &V) {
    fn write_item(&self, out: &mut Vec<u8>) {
        self.0.write(out);
        self.1.write(out)
    }
}
collections! {
    [T: Value] Vec<T>, T;
    [T: Value + Eq + Hash] HashSet<T>, T;
    [K: Value + Eq + Hash, V: Value] HashMap<K, V>, (K, V);
    [K: Value + Ord, V: Value] BTreeMap<K, V>, (K, V);
}

pub trait Served<Arguments> {
    fn answer(&self, arguments: Arguments, out: &mut Vec<u8>);
}

macro_rules! tuples {
    ($(($($name:ident),*))*) => {$(
        #[allow(non_snake_case, unused_variables)]
        impl<$($name: Value),*> Value for ($($name,)*) {
            fn write(&self, out: &mut Vec<u8>) {
                let ($($name,)*) = self;
                $($name.write(out);)*
            }
            fn read(data: &mut &[u8]) -> Self { ($($name::read(data),)*) }
        }
        #[allow(non_snake_case)]
        impl<Function: Fn($($name),*) -> Result, Result: Value, $($name: Value),*> Served<($($name,)*)> for Function {
            fn answer(&self, ($($name,)*): ($($name,)*), out: &mut Vec<u8>) { self($($name),*).write(out) }
        }
    )*};
}
tuples! { () (A) (A, B) (A, B, C) (A, B, C, D) (A, B, C, D, E) (A, B, C, D, E, F) }

fn stream(descriptor: i32) -> ManuallyDrop<File> {
    ManuallyDrop::new(unsafe { File::from_raw_fd(descriptor) })
}

fn send(message: &[u8]) -> bool {
    let mut framed = message.len().to_le_bytes().to_vec();
    framed.extend_from_slice(message);
    stream(4).write_all(&framed).is_ok()
}

fn receive() -> Option<Vec<u8>> {
    let mut size = [0u8; 8];
    stream(3).read_exact(&mut size).ok()?;
    let mut message = Vec::new();
    let size = u64::from_le_bytes(size);
    (&*stream(3)).take(size).read_to_end(&mut message).ok()?;
    (message.len() as u64 == size).then_some(message)
}

pub fn call<Arguments: Value, Answer: Value>(arguments: Arguments) -> Answer {
    let mut message = Vec::new();
    arguments.write(&mut message);
    if !send(&message) {
        closed()
    }
    let answer = Answer::read(&mut receive().unwrap_or_else(|| closed()).as_slice());
    eprint!("\u{6}"); // ANSWERED in grading.py
    answer
}

macro_rules! call_candidate {
    ($($argument:expr),*) => { crate::channel::call(($($argument,)*)) };
}
pub(crate) use call_candidate;

pub fn serve<Arguments: Value, Function: Served<Arguments>>(function: Function) {
    while let Some(message) = receive() {
        let mut answer = Vec::new();
        function.answer(Arguments::read(&mut message.as_slice()), &mut answer);
        if !send(&answer) {
            return;
        }
    }
}
