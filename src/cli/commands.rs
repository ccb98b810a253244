//! Each command as a function: from what was typed to a call into the pipeline.

use std::fmt::Write;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::config::{self, Config, LogLevel, Overrides};
use crate::context::Visit;
use crate::convert;
use crate::error::{Error, Kind};
use crate::means;
use crate::shell;
use crate::spec::{self, Problem};
use crate::stages;

use super::arguments::{
    Arguments, BuildArguments, Command, ConvertArguments, Global, ProviderCommand, SchemaOf, ShellArguments,
};
use super::environment::Environment;
use super::options::{BuildOptions, BuildRequest};
use super::{cache, doctor, images, interrupt, layers, logging, oci, print, reporter};

/// What every command has at hand.
struct Session {
    global: Global,
    environment: Environment,
    config: Config,
}

/// Runs what was typed.
///
/// # Errors
/// Those of the command.
pub(super) fn run(arguments: Arguments) -> Result<ExitCode, Error> {
    let Arguments { global, command } = arguments;
    let command = match command {
        Command::Schema { of } => return schema(of).map(|()| ExitCode::SUCCESS),
        // No configuration changes what is in an image.
        Command::Look(look) => return images::run(look),
        other => other,
    };
    let environment = match Environment::read() {
        Err(error) if matches!(command, Command::Doctor) => {
            doctor::run(None)?;
            return Err(error);
        }
        other => other?,
    };
    let absolute = |path: &Option<PathBuf>| path.as_ref().map(|path| environment.current_directory.join(path));
    let overrides = Overrides {
        file: global.config.clone(),
        cache_dir: absolute(&global.cache_dir),
        work_dir: absolute(&global.work_dir),
        log_level: global.log_level(),
    };
    let config = config::load(&environment.defaults, &overrides);
    if let Command::Doctor = command {
        // What the machine allows is told whatever the configuration says.
        doctor::run(config.as_ref().ok())?;
        return config.map(|_| ExitCode::SUCCESS);
    }
    let config = config?;
    let session = Session { global, environment, config };
    let done = match command {
        Command::Shell(shell) => return session.shell(*shell),
        Command::Layers { command } => {
            let reporter = || {
                let reporter = reporter(session.global.progress, session.config.log_level);
                logging::start(&reporter, session.config.log_level);
                reporter
            };
            return layers::run(&session.config, &session.environment, reporter, command);
        }
        Command::Build(build) => session.build(*build),
        Command::Validate { spec, schema_only, strict, list_warnings } => {
            session.validate(&spec, schema_only, strict, list_warnings)
        }
        Command::Lock { spec, offline } => session.lock(spec, offline),
        Command::Why { package, spec } => session.why(&package, spec),
        Command::Convert(convert) => session.convert(*convert),
        Command::Oci { command } => {
            oci::run(command, &session.environment, |spec, options| session.request(spec, options))
        }
        Command::Cache { command } => cache::run(&session.config, command),
        Command::Provider { command: ProviderCommand::List } => session.list_providers(),
        Command::Schema { .. } | Command::Look(_) | Command::Doctor => Ok(()),
    };
    done.map(|()| ExitCode::SUCCESS)
}

fn schema(of: SchemaOf) -> Result<(), Error> {
    print(&match of {
        SchemaOf::Spec => spec::schema::spec_schema(),
        SchemaOf::Config => spec::schema::config_schema(),
        SchemaOf::Reference => spec::schema::reference(),
    })
}

/// Options whose work is still to come are refused, never ignored.
fn refuse_unsupported(build: &BuildArguments) -> Result<(), Error> {
    let typed = [
        ("--variables", build.variables.is_some()),
        ("--set", !build.set.is_empty()),
        ("--template", build.template.is_some()),
    ];
    match typed.iter().find(|(_, is_typed)| *is_typed) {
        Some((option, _)) => Err(Error::validation(format!("{option} is not supported yet"))),
        None => Ok(()),
    }
}

impl Session {
    fn request(&self, spec_path: PathBuf, options: BuildOptions) -> Result<BuildRequest, Error> {
        let reporter = reporter(self.global.progress, self.config.log_level);
        logging::start(&reporter, self.config.log_level);
        Ok(BuildRequest {
            spec_path,
            current_directory: self.environment.current_directory.clone(),
            options,
            config: self.config.clone(),
            reporter,
            interrupted: interrupt::watch()?,
            source_date_epoch: self.environment.source_date_epoch,
            proxies: self.environment.proxies.clone(),
            credentials: self.environment.credentials.clone(),
            places: self.global.places(),
            visit: None,
        })
    }

    fn build(&self, build: BuildArguments) -> Result<(), Error> {
        refuse_unsupported(&build)?;
        let options = BuildOptions {
            output_dir: build.output_dir,
            force: build.force,
            no_package_cache: build.no_cache || build.no_package_cache,
            no_image_cache: build.no_cache || build.no_image_cache,
            keep_temp: build.keep_temp,
            parallel: build.parallel,
            last_stage: build.stage,
            skip_stages: build.skip_stage.into_iter().collect(),
            timeout: build.timeout.map(|timeout| timeout.0),
            locked: build.locked,
            offline: build.offline,
            check: build.check,
            rung: build.rung,
            no_overlay: build.no_overlay,
        };
        let request = self.request(build.spec, options)?;
        let artifacts = crate::build::run(&request)?;
        for artifact in &artifacts {
            let event = crate::progress::Event::Artifact { path: &artifact.path, bytes: artifact.size };
            request.reporter.report(&event);
        }
        Ok(())
    }

    fn shell(&self, typed: ShellArguments) -> Result<ExitCode, Error> {
        let options = BuildOptions {
            last_stage: Some(typed.stage),
            locked: typed.locked,
            offline: typed.offline,
            rung: typed.rung,
            ..BuildOptions::default()
        };
        let visit = Visit { argv: typed.command, term: self.environment.term.clone() };
        let request = BuildRequest { visit: Some(visit.clone()), ..self.request(typed.spec, options)? };
        let code = shell::run(&request, &visit)?;
        Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
    }

    fn convert(&self, typed: ConvertArguments) -> Result<(), Error> {
        let reporter = reporter(self.global.progress, self.config.log_level);
        logging::start(&reporter, self.config.log_level);
        let request = convert::Request {
            source: self.environment.current_directory.join(typed.source),
            target: self.environment.current_directory.join(typed.target),
            format: typed.format,
            compression: typed.compression,
            force: typed.force,
            threads: std::thread::available_parallelism().map_or(1, NonZeroUsize::get),
            reporter,
            interrupted: interrupt::watch()?,
        };
        let converted = convert::run(&request)?;
        let event = crate::progress::Event::Artifact { path: &converted.path, bytes: converted.bytes };
        request.reporter.report(&event);
        Ok(())
    }

    fn lock(&self, spec: PathBuf, offline: bool) -> Result<(), Error> {
        let request = self.request(spec, BuildOptions { offline, ..BuildOptions::default() })?;
        let path = crate::build::lock(&request)?;
        request.reporter.info(&format!("wrote {}", path.display()));
        Ok(())
    }

    fn why(&self, package: &str, spec: Option<PathBuf>) -> Result<(), Error> {
        let spec = match spec {
            Some(spec) => spec,
            None => only_locked_spec(&self.environment.current_directory)?,
        };
        let request = self.request(spec, BuildOptions::default())?;
        print(&crate::build::why(&request, package)?)
    }

    fn validate(&self, path: &Path, schema_only: bool, strict: bool, list_warnings: bool) -> Result<(), Error> {
        let warnings: Vec<Problem> = if schema_only {
            spec::load(path)?;
            Vec::new()
        } else {
            let catalogue = means::catalogue(&self.config)?;
            let known = crate::build::known_providers(&catalogue);
            let (resolved, warnings) = spec::load_resolved(path, &self.environment.current_directory, &known)?;
            stages::validate(&resolved, &catalogue)?;
            warnings
        };
        if strict && !warnings.is_empty() {
            return Err(Error::problems(Kind::Validation, path, warnings));
        }
        if list_warnings {
            for warning in &warnings {
                print(&format!("Warning: {warning}\n\n"))?;
            }
        }
        if self.config.log_level > LogLevel::Info {
            return Ok(());
        }
        let told = match warnings.len() {
            0 => String::new(),
            count if list_warnings => format!(", with {count} warning(s)"),
            count => format!(", with {count} warning(s): --list-warnings shows them"),
        };
        print(&format!("{} is valid{told}\n", path.display()))
    }

    fn list_providers(&self) -> Result<(), Error> {
        let mut text = String::new();
        for distro in means::catalogue(&self.config)?.distros() {
            let architectures: Vec<&str> = distro.architectures.keys().map(|name| name.as_str()).collect();
            // Writing to a text cannot fail.
            let _ = writeln!(
                text,
                "{:<12} {:<8} {:<28} {}",
                distro.os,
                distro.version,
                distro.title,
                architectures.join(", ")
            );
        }
        print(&text)
    }
}

/// The only spec of a directory that has a lock beside it.
fn only_locked_spec(directory: &Path) -> Result<PathBuf, Error> {
    let hint = "name the spec: image-composer why PACKAGE SPEC";
    let entries = std::fs::read_dir(directory)
        .map_err(|source| Error::io(Kind::Usage, "look for a spec in", directory, source))?;
    let mut found: Vec<PathBuf> = entries
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|ending| ["yml", "yaml", "json"].iter().any(|e| ending == *e)))
        .filter(|path| crate::build::lock_path(path).exists())
        .collect();
    found.sort();
    match found.as_slice() {
        [] => Err(Error::usage("no spec in this directory has a lock").hint(hint)),
        [only] => Ok(only.clone()),
        _ => Err(Error::usage("more than one spec in this directory has a lock").hint(hint)),
    }
}
