//! The counters, at the end.

use std::io::{self, Write};

/// Prints every counter that is not zero to standard error, under `title`.
///
/// # Errors
/// When standard error is gone.
pub fn print_summary(
    title: &str,
    counters: impl IntoIterator<Item = (&'static str, u64)>,
) -> io::Result<()> {
    let mut lines = format!("{title}:\n");
    for (name, value) in counters {
        lines.push_str(&format!("  {name:<32} {value:>16}\n"));
    }
    io::stderr().write_all(lines.as_bytes())
}
