//! `cat`, for the image, which has no other program: `docker exec … cat /app/data/_auth.key`.

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io,
    path::Path,
    process::ExitCode,
};

/// Whether the binary was called by this name.
pub fn is_meant(program: Option<&OsStr>) -> bool {
    program.is_some_and(|program| Path::new(program).file_name() == Some(OsStr::new("cat")))
}

/// Copies files to standard output, or standard input where none is named.
pub fn run(files: impl Iterator<Item = OsString>) -> ExitCode {
    let mut files = files.peekable();
    if files.peek().is_none() {
        return copy(OsStr::new("-"));
    }
    let mut code = ExitCode::SUCCESS;
    for file in files {
        if copy(&file) != ExitCode::SUCCESS {
            code = ExitCode::FAILURE;
        }
    }
    code
}

fn copy(file: &OsStr) -> ExitCode {
    let mut out = io::stdout().lock();
    let copied = if file == "-" {
        io::copy(&mut io::stdin().lock(), &mut out)
    } else {
        File::open(file).and_then(|mut file| io::copy(&mut file, &mut out))
    };
    match copied {
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            #[expect(clippy::print_stderr, reason = "a program's own error message")]
            {
                eprintln!("cat: {}: {error}", Path::new(file).display());
            }
            ExitCode::FAILURE
        }
    }
}
