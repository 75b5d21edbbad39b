//! The driver: takes an input of the corpus, mutates it, tries it; what fails is written to a file.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

/// What is wrong with how a target took an input.
pub type Verdict = Result<(), String>;

/// Longest input.
const INPUT_BYTES: usize = 8 * 1024;
/// Mutations of one input.
const MUTATIONS: u64 = 8;

/// Pieces that parsers look for, put where they are not expected.
const TOKENS: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    "\"",
    ":",
    ",",
    "\\",
    "\\u0000",
    "\\ud800",
    "null",
    "true",
    "-0",
    "1e999",
    "-1",
    "9223372036854775808",
    "18446744073709551616",
    "0.1",
    "NaN",
    "\0",
    "\u{202e}",
    "\u{feff}",
    "é",
    "\r\n",
    "&a ",
    "*a",
    "!!binary ",
    "<<: ",
    "---\n",
    "? ",
    "| ",
    "- ",
    "#",
    "$patch",
    "$retainKeys",
    "delete",
    "replace",
    "$setElementOrder/containers",
    "$deleteFromPrimitiveList/finalizers",
    "metadata",
    "managedFields",
    "f:",
    "k:{",
    "v:",
    "i:",
    ".",
    "/",
    "~1",
    "~0",
    "-",
    "=",
    "!=",
    "==",
    "in (",
    "notin",
    ")",
    "!",
    ">",
    "*",
    "*/",
    "@every ",
    "Ki",
    "E",
    "e",
    "m",
    "n",
    "Z",
    "+24:00",
    "T",
    "k8s\0",
    "\u{8}\u{1}",
    "size(",
    ".all(",
    "?",
    "||",
    "&&",
    "@",
];

/// Random numbers of a seed (splitmix64): the same on every machine.
pub struct Random(u64);

impl Random {
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let word = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    /// A number below `bound`; 0 for 0.
    fn below(&mut self, bound: usize) -> usize {
        (self.bits() % bound.max(1) as u64) as usize
    }
}

/// Runs a target over the corpus of its name, then over so many mutations.
pub fn fuzz(name: &str, rounds: u64, target: impl Fn(&[u8]) -> Verdict) {
    if let Ok(path) = std::env::var("KONTIKI_FUZZ_INPUT") {
        let input = fs::read(&path).unwrap();
        return judge(&target, &input).unwrap_or_else(|why| panic!("{path}: {why}"));
    }
    let rounds = match std::env::var("KONTIKI_FUZZ_ROUNDS") {
        Ok(rounds) => rounds.parse().unwrap(),
        Err(_) => rounds,
    };
    let corpus = corpus(name);
    for input in &corpus {
        try_input(name, &target, input);
    }
    for seed in 0..rounds {
        let mut random = Random(seed);
        let mut input = corpus[random.below(corpus.len())].clone();
        for _ in 0..=random.bits() % MUTATIONS {
            mutate(&mut random, &mut input, &corpus);
        }
        try_input(name, &target, &input);
    }
}

fn try_input(name: &str, target: &impl Fn(&[u8]) -> Verdict, input: &[u8]) {
    // Before it is tried: a stack that overflows ends the process.
    let path = std::env::temp_dir().join(format!("kontiki-fuzz-{name}"));
    fs::write(&path, input).unwrap();
    if let Err(why) = judge(target, input) {
        let shown = String::from_utf8_lossy(&input[..input.len().min(2000)]);
        panic!("{name}: {why}\ninput, also in {}:\n{shown}", path.display());
    }
}

/// A panic is a verdict too.
fn judge(target: &impl Fn(&[u8]) -> Verdict, input: &[u8]) -> Verdict {
    let judged = catch_unwind(AssertUnwindSafe(|| target(input)));
    judged.unwrap_or_else(|_| Err("it panicked".to_owned()))
}

/// Files below `corpus/NAME`, or the lines of `corpus/NAME.txt`; in order, so that a seed means the same everywhere.
fn corpus(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    let lines = folder.join(format!("{name}.txt"));
    if let Ok(text) = fs::read_to_string(&lines) {
        return text.lines().map(|line| line.as_bytes().to_vec()).collect();
    }
    let mut paths: Vec<PathBuf> = fs::read_dir(folder.join(name))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

fn mutate(random: &mut Random, input: &mut Vec<u8>, corpus: &[Vec<u8>]) {
    let at = random.below(input.len() + 1);
    let end = at + random.below(input.len() - at + 1);
    match random.below(10) {
        0 if !input.is_empty() => {
            let at = random.below(input.len());
            input[at] ^= 1 << random.below(8);
        }
        1 => {
            input.drain(at..end);
        }
        2 => {
            let piece = input[at..end].repeat(1 + random.below(4));
            input.splice(at..at, piece);
        }
        3 => {
            let other = &corpus[random.below(corpus.len())];
            let from = random.below(other.len() + 1);
            input.splice(at..end, other[from..].iter().copied());
        }
        4 => {
            let byte = random.below(256) as u8;
            input.insert(at, byte);
        }
        5 => {
            let opening = ["{\"a\":", "[", "(", "- ", "!", "-"][random.below(6)];
            input.splice(at..at, opening.repeat(random.below(300)).into_bytes());
        }
        6 => {
            let number = match random.below(3) {
                0 => random.bits().to_string(),
                1 => format!("-{}", random.bits()),
                _ => "9".repeat(random.below(400)),
            };
            input.splice(at..end.min(at + 4), number.into_bytes());
        }
        _ => {
            let token = TOKENS[random.below(TOKENS.len())];
            input.splice(at..at, token.bytes());
        }
    }
    input.truncate(INPUT_BYTES);
}

#[test]
fn a_planted_fault_is_found_and_its_input_kept() {
    let planted = |input: &[u8]| match std::str::from_utf8(input) {
        Ok(text) if text.contains("Ki") && text.contains("@every") => Err("planted".to_owned()),
        _ => Ok(()),
    };
    let found = catch_unwind(|| fuzz("quantity", 100_000, planted)).unwrap_err();
    let words = found.downcast_ref::<String>().unwrap();
    assert!(words.starts_with("quantity: planted"), "{words}");
    let kept = fs::read(std::env::temp_dir().join("kontiki-fuzz-quantity")).unwrap();
    assert!(planted(&kept).is_err());
}
