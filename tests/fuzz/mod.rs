//! Fuzz targets for every parser that sees a stranger's bytes: the SFTP codec, scp,
//! FTP's commands, the header of proxies, paths, names.
//!
//! Each runs for FUZZ_SECONDS (default 5) on mutated seeds and prints its seed; FUZZ_SEED repeats
//! a run, and docs/testing.md has the command for hours of it. It stands on the stable toolchain:
//! mutation here is random, not guided by coverage.

mod targets;

use std::time::{Duration, Instant};

/// A generator that one number makes (xorshift64*).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit.max(1) as u64).unwrap()
    }
}

/// Numbers that break parsers.
const WORDS: [u32; 8] = [
    0,
    1,
    4,
    255,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_fffb,
    0xffff_ffff,
];

fn mutate(random: &mut Random, bytes: &mut Vec<u8>, seeds: &[Vec<u8>]) {
    for _ in 0..=random.below(6) {
        let at = random.below(bytes.len().max(1));
        match random.below(8) {
            0 if !bytes.is_empty() => bytes[at] ^= 1 << random.below(8),
            1 if !bytes.is_empty() => bytes[at] = random.next() as u8,
            2 => bytes.insert(at.min(bytes.len()), random.next() as u8),
            3 if !bytes.is_empty() => {
                bytes.remove(at);
            }
            4 => bytes.truncate(at),
            5 if bytes.len() >= at + 4 => {
                let word = WORDS[random.below(WORDS.len())];
                bytes[at..at + 4].copy_from_slice(&word.to_be_bytes());
            }
            6 => bytes.extend(&seeds[random.below(seeds.len())]),
            _ => {
                let end = at + random.below(16);
                let copy = bytes[at.min(bytes.len())..end.min(bytes.len())].to_vec();
                bytes.extend(copy);
            }
        }
        bytes.truncate(1 << 16);
    }
}

/// Feeds mutated seeds to `target` until the time is over. A panic names the seed and the input.
fn run(name: &str, seeds: &[Vec<u8>], target: impl Fn(&[u8]) + std::panic::RefUnwindSafe) {
    let setting = |name: &str| {
        std::env::var(name)
            .ok()
            .and_then(|text| text.parse::<u64>().ok())
    };
    let seconds = setting("FUZZ_SECONDS").unwrap_or(5);
    let seed = setting("FUZZ_SEED").unwrap_or_else(|| crate::harness::unix_now() | 1);
    println!("{name}: FUZZ_SEED={seed} FUZZ_SECONDS={seconds}");
    let mut random = Random(seed);
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut rounds: u64 = 0;
    for bytes in seeds {
        target(bytes);
    }
    while !rounds.is_multiple_of(1024) || rounds == 0 || Instant::now() < end {
        let mut bytes = seeds[random.below(seeds.len())].clone();
        mutate(&mut random, &mut bytes, seeds);
        if let Err(panic) = std::panic::catch_unwind(|| target(&bytes)) {
            eprintln!("{name}: FUZZ_SEED={seed}, round {rounds}, input {bytes:02x?}");
            std::panic::resume_unwind(panic);
        }
        rounds += 1;
    }
    println!("{name}: {rounds} inputs");
    assert!(rounds >= 1024);
}
