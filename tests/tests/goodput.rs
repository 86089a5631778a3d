//! What long transfers reach, over loss, delay, size of the buffer at the bottleneck and number of flows, in virtual
//! time: a table kept in `snapshots/goodput.txt`, so that a change of behaviour shows in review.
//!
//! `OUTLIVE_BLESS=1 cargo test -p outlive-tests --test goodput` writes it anew. Figures may drift by a few percent
//! before the test asks for that; what must hold whatever the table says is asserted besides.

use std::fmt::Write as _;
use std::path::Path;

use outlive::tcp::Algorithm;
use outlive_tests::simulation::bottleneck::{Bottleneck, fairness};

/// Every point is the median of so many runs.
const SEEDS: u64 = 3;
/// How far a figure may be from the table, as a part of it.
const DRIFT: f64 = 0.08;

/// A path and what uses it.
#[derive(Clone, Copy, Debug)]
struct Point {
    algorithm: Algorithm,
    rtt_ms: u64,
    loss_percent: f64,
    /// The buffer in parts of what the path holds.
    buffer: f64,
    flows: usize,
}

impl Point {
    const fn new(algorithm: Algorithm) -> Self {
        Self {
            algorithm,
            rtt_ms: 20,
            loss_percent: 0.0,
            buffer: 1.0,
            flows: 1,
        }
    }

    fn measure(&self) -> Figures {
        let bottleneck = Bottleneck {
            rtt_ms: self.rtt_ms,
            loss_percent: self.loss_percent,
            buffer: self.buffer,
            ..Bottleneck::new(&vec![self.algorithm; self.flows])
        };
        let mut runs: Vec<Figures> = (1..=SEEDS)
            .map(|seed| {
                let transfers = bottleneck.run(seed);
                Figures {
                    used: transfers.iter().map(|it| it.share).sum(),
                    fairness: fairness(&transfers),
                }
            })
            .collect();
        runs.sort_by(|a, b| a.used.total_cmp(&b.used));
        runs[runs.len() / 2]
    }
}

/// What a point came to.
#[derive(Clone, Copy, Debug)]
struct Figures {
    /// Goodput as a part of what the bottleneck can carry.
    used: f64,
    /// Jain's index: 1 if all flows got the same.
    fairness: f64,
}

fn points() -> Vec<Point> {
    let mut points = Vec::new();
    for algorithm in [Algorithm::Cubic, Algorithm::NewReno, Algorithm::Bbr] {
        let base = Point::new(algorithm);
        for rtt_ms in [2, 20, 100] {
            for loss_percent in [0.0, 0.1, 1.0, 3.0] {
                points.push(Point {
                    rtt_ms,
                    loss_percent,
                    ..base
                });
            }
        }
        for buffer in [0.1, 0.5, 4.0] {
            points.push(Point { buffer, ..base });
        }
        for flows in [2, 8] {
            points.push(Point { flows, ..base });
        }
    }
    points
}

fn row(point: &Point, figures: &Figures) -> String {
    format!(
        "{:8} {:4} ms {:4.1} % {:4.1} {:5}   {:.3} {:.3}",
        format!("{:?}", point.algorithm),
        point.rtt_ms,
        point.loss_percent,
        point.buffer,
        point.flows,
        figures.used,
        figures.fairness
    )
}

fn table(rows: &[String]) -> String {
    let mut table = String::from(
        "# Goodput in virtual time at 10 Mbit/s for 10 s, median of 3 seeds; `used` is the part of what the\n\
         # bottleneck can carry, `buffer` in parts of what the path holds, `fair` is Jain's index.\n\
         # algorithm  rtt   loss buffer flows used  fair\n",
    );
    for row in rows {
        writeln!(table, "{row}").expect("a string takes all");
    }
    table
}

/// The figures at the end of a row are as near as they have to be.
fn alike(old: &str, new: &str) -> bool {
    let split = |row: &str| -> Option<(String, [f64; 2])> {
        let (rest, fair) = row.rsplit_once(' ')?;
        let (point, used) = rest.rsplit_once(' ')?;
        Some((point.to_owned(), [used.parse().ok()?, fair.parse().ok()?]))
    };
    match (split(old), split(new)) {
        (Some((old, before)), Some((new, after))) => {
            let near = |(a, b): (&f64, &f64)| (a - b).abs() <= DRIFT * a.max(*b);
            old == new && before.iter().zip(&after).all(near)
        }
        _ => false,
    }
}

#[test]
fn small_drifts_are_alike_and_large_ones_are_not() {
    let row = "Cubic      20 ms  1.0 %  1.0     1   0.754 1.000";
    assert!(alike(row, row));
    assert!(alike(row, &row.replace("0.754", "0.700")));
    assert!(!alike(row, &row.replace("0.754", "0.600")));
    assert!(!alike(row, &row.replace("20 ms", "100 ms")));
}

#[test]
fn the_table_is_as_it_was() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("snapshots/goodput.txt");
    let points = points();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let next = std::sync::atomic::AtomicUsize::new(0);
    let measured = std::sync::Mutex::new(vec![None; points.len()]);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    let Some(point) = points.get(index) else {
                        return;
                    };
                    let figures = point.measure();
                    measured.lock().expect("no panic under the lock")[index] = Some(figures);
                }
            });
        }
    });
    let measured = measured.into_inner().expect("no panic under the lock");
    let pairs = points.iter().zip(measured.iter().flatten());
    let rows: Vec<String> = pairs.clone().map(|(point, it)| row(point, it)).collect();
    println!("{}", table(&rows));
    for (point, figures) in pairs {
        // A clean path with a buffer worth the name is filled, and flows share.
        if point.loss_percent == 0.0 && point.buffer >= 0.5 {
            assert!(figures.used > 0.85, "{point:?} {figures:?}");
        }
        assert!(
            point.flows == 1 || figures.fairness > 0.8,
            "{point:?} {figures:?}"
        );
    }
    if std::env::var_os("OUTLIVE_BLESS").is_some() {
        std::fs::write(&path, table(&rows)).expect("the snapshot can be written");
        return;
    }
    let known = std::fs::read_to_string(&path).unwrap_or_default();
    let known: Vec<&str> = known
        .lines()
        .filter(|line| !line.starts_with('#'))
        .collect();
    let changed: Vec<&String> = rows
        .iter()
        .enumerate()
        .filter(|(index, row)| known.get(*index).is_none_or(|old| !alike(old, row)))
        .map(|(_, row)| row)
        .collect();
    assert!(
        changed.is_empty() && known.len() == rows.len(),
        "goodput changed; if that is meant, run with OUTLIVE_BLESS=1 and commit the table:\n{changed:#?}"
    );
}
