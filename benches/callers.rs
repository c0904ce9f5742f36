//! What one observation of a caller costs the worker that ends the request, and what the other ways would.
//!
//! The goal is 100 nanoseconds while a thousand callers ask. A hundred thousand in random order cost five times that, for
//! their lines of memory are nowhere near. Two workers at once should cost each other nothing.

use std::hint::black_box;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, spawn};
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use serin::domain::caller_features::{PathMark, Sighting};
use serin::domain::timestamp::Timestamp;
use serin::runtime::caller_book::{CallerBook, CallerBookTerms};
use serin::runtime::trays::trays;

/// Callers of the bound by default.
const CALLERS: usize = 100_000;

/// The most requests whose pieces lie in a tray at a time.
const TRAY: usize = 4_096;

fn keys(count: usize) -> Arc<Vec<String>> {
    let mut random = SmallRng::seed_from_u64(7);
    let mut keys: Vec<_> = (0..count)
        .map(|number| format!("caller-{number:08}"))
        .collect();
    for place in (1..count).rev() {
        keys.swap(place, random.random_range(0..=place));
    }
    Arc::new(keys)
}

fn sighting(path: &str) -> Sighting {
    Sighting {
        is_error: false,
        is_write: false,
        path: PathMark::of(path),
        head_latency: Some(Duration::from_micros(1_300)),
        request_bytes: 0,
        response_bytes: 700,
    }
}

fn book(callers: usize) -> Arc<CallerBook> {
    let terms = CallerBookTerms {
        callers: NonZeroUsize::new(callers).unwrap_or(NonZeroUsize::MIN),
        half_life: Duration::from_secs(3_600),
    };
    Arc::new(CallerBook::new(terms, Timestamp::default()))
}

/// A worker that writes into a book on and on, until it is told to stop.
fn other_worker(
    book: &Arc<CallerBook>,
    keys: &Arc<Vec<String>>,
) -> (Arc<AtomicBool>, JoinHandle<()>) {
    let is_over = Arc::<AtomicBool>::default();
    let (told, book, keys) = (Arc::clone(&is_over), Arc::clone(book), Arc::clone(keys));
    let thread = spawn(move || {
        for key in keys.iter().rev().cycle() {
            if told.load(Ordering::Relaxed) {
                return;
            }
            book.see(key, &sighting("/orders/17"), Timestamp::default());
        }
    });
    (is_over, thread)
}

fn callers(criterion: &mut Criterion) {
    let now = Timestamp::default();
    for (name, count) in [("1000 callers", 1_000), ("100000 callers", CALLERS)] {
        let (keys, book) = (keys(count), book(CALLERS));
        let mut next = keys.iter().cycle();
        let mut see = || {
            if let Some(key) = next.next() {
                book.see(black_box(key), &sighting(black_box("/orders/17")), now);
            }
        };
        criterion.bench_function(&format!("see, {name}"), |bencher| bencher.iter(&mut see));
        let (is_over, thread) = other_worker(&book, &keys);
        let with_other = format!("see, {name}, another worker on the same book");
        criterion.bench_function(&with_other, |bencher| bencher.iter(&mut see));
        is_over.store(true, Ordering::Relaxed);
        // It has nothing to tell.
        let _ = thread.join();
    }
    let (many, full) = (keys(CALLERS), book(CALLERS / 4));
    let mut next = many.iter().cycle();
    criterion.bench_function("see, each a stranger to a full book", |bencher| {
        bencher.iter(|| {
            if let Some(key) = next.next() {
                full.see(black_box(key), &sighting(black_box("/orders/17")), now);
            }
        });
    });
    let (sender, mut receiver) = trays::<(Box<str>, Sighting)>(1, Arc::default());
    let (mut next, mut laid) = (many.iter().cycle(), 0);
    criterion.bench_function(
        "the other way: a message in a worker's own tray",
        |bencher| {
            bencher.iter(|| {
                if let Some(key) = next.next() {
                    let piece = (
                        black_box(key).as_str().into(),
                        sighting(black_box("/orders/17")),
                    );
                    sender.leave(0, piece);
                }
                laid += 1;
                if laid % TRAY == 0 {
                    receiver.take(Vec::clear);
                }
            });
        },
    );
}

criterion_group!(benches, callers);
criterion_main!(benches);
