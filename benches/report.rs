//! The table in which a bench tells its figures.

use std::process::ExitCode;

/// What was measured, the figure, its limit if there is one, and whether the figure keeps to it.
pub(crate) type Row<'a> = (&'a str, String, &'a str, bool);

/// Prints the table; a failure where a figure is over its limit.
pub(crate) fn print(rows: &[Row<'_>]) -> ExitCode {
    println!("| figure | measured | limit |\n|---|---|---|");
    for (what, measured, limit, _) in rows {
        println!("| {what} | {measured} | {limit} |");
    }
    if rows.iter().all(|row| row.3) {
        return ExitCode::SUCCESS;
    }
    eprintln!("over the limit");
    ExitCode::FAILURE
}

pub(crate) const MIB: f64 = 1024.0 * 1024.0;

/// A number of bytes as it is told.
pub(crate) fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / MIB)
}
