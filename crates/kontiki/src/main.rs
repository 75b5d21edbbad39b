//! Entry point: parse, run, and print an error as one line that says what to do.

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    let cli = kontiki::commands::Cli::parse();
    match cli.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let text = format!("{error:#}").replace('\n', " ");
            eprintln!("kontiki: {text}");
            ExitCode::FAILURE
        }
    }
}
