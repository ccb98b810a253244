//! `oci`: images for container engines and registries.

use std::path::PathBuf;

use ::oci::oci_spec::image::Descriptor;

use crate::cli::options::BuildRequest;
use crate::containers::Document;
use crate::containers::connection::{self, Connection};
use crate::containers::destination::Destination;
use crate::containers::platforms::Platforms;
use crate::containers::pull::{self, Pull};
use crate::containers::push::{self, Push};
use crate::containers::source::{self, Source};
use crate::error::{Error, Kind, ResultExt};
use crate::finalize::oci::{export, reference_name};
use crate::progress::human_bytes;

use super::environment::Environment;
use super::oci_arguments::{
    ConnectionArguments, LayoutForm, OciCommand, OciExportArguments, OciPullArguments, OciPushArguments,
};

/// Runs one of the commands of `oci`; `request` makes the means of a build of a spec.
///
/// # Errors
/// Those of the command.
pub(super) fn run(
    command: OciCommand,
    environment: &Environment,
    request: impl FnOnce(PathBuf, super::options::BuildOptions) -> Result<BuildRequest, Error>,
) -> Result<(), Error> {
    match command {
        OciCommand::Export(typed) => {
            let options = typed.build.options();
            let spec = typed.sources.first().cloned().unwrap_or_default();
            export_to(&typed, &request(spec, options)?)
        }
        OciCommand::Push(typed) => {
            let options = typed.build.options();
            push_to(&typed, environment, &request(typed.source.clone(), options)?)
        }
        OciCommand::Pull(typed) => pull_from(&typed, environment, &request(PathBuf::new(), Default::default())?),
    }
}

fn form(typed: Option<LayoutForm>) -> Option<::oci::Form> {
    typed.map(|form| match form {
        LayoutForm::Directory => ::oci::Form::Directory,
        LayoutForm::Archive => ::oci::Form::Archive,
    })
}

fn export_to(typed: &OciExportArguments, request: &BuildRequest) -> Result<(), Error> {
    let target = request.current_directory.join(&typed.target);
    let destination = Destination::new(target, form(typed.form), typed.force);
    let open = |path: &PathBuf| Source::open(&request.current_directory.join(path));
    let sources: Vec<Source> = typed.sources.iter().map(open).collect::<Result<_, _>>()?;
    let descriptor = match sources.as_slice() {
        [Source::Layout(layout, _)] => {
            let mut writer = destination.begin()?;
            let descriptor = source::choose(layout, typed.name.as_deref())?;
            Document::read(&**layout, &descriptor)?.copy(&**layout, &writer)?;
            writer.add(descriptor.clone(), None);
            destination.finish(writer)?;
            descriptor
        }
        [Source::Spec(_)] => {
            // Told before the build, not after it.
            drop(destination.begin()?);
            source::built(request, |spec, finished, cx| {
                let mut writer = destination.begin()?;
                let exported = export(spec, finished, &writer, None, cx)?;
                writer.add(exported.descriptor.clone(), Some(&reference_name(spec)));
                destination.finish(writer)?;
                Ok(exported.descriptor)
            })?
        }
        several => {
            let mut writer = destination.begin()?;
            let mut platforms = Platforms::default();
            for (source, typed_path) in several.iter().zip(&typed.sources) {
                let from = typed_path.display().to_string();
                match source {
                    Source::Layout(layout, _) => platforms.copy(layout, typed.name.as_deref(), &from, &writer)?,
                    Source::Spec(_) => {
                        let request = BuildRequest { spec_path: typed_path.clone(), ..request.clone() };
                        let (descriptor, name) = source::built(&request, |spec, finished, cx| {
                            let exported = export(spec, finished, &writer, None, cx)?;
                            Ok((exported.descriptor, reference_name(spec)))
                        })?;
                        platforms.add(descriptor, Some(name), &from)?;
                    }
                }
            }
            let descriptor = platforms.finish(&mut writer)?;
            destination.finish(writer)?;
            descriptor
        }
    };
    tell(request, &destination, &descriptor)
}

fn tell(request: &BuildRequest, destination: &Destination, descriptor: &Descriptor) -> Result<(), Error> {
    request.reporter.info(&format!("wrote {} ({})", destination.path.display(), descriptor.digest()));
    Ok(())
}

fn connection_of(
    typed: &ConnectionArguments,
    environment: &Environment,
    request: &BuildRequest,
) -> Result<Connection, Error> {
    let mut found = Connection {
        proxies: request.proxies.clone(),
        authorities: typed.ca_file.iter().map(|path| request.current_directory.join(path)).collect(),
        credentials: match &typed.auth_file {
            Some(file) => vec![request.current_directory.join(file)],
            None => environment.credentials.clone(),
        },
        ..Connection::default()
    };
    for text in &typed.insecure_registry {
        found.insecure.insert(connection::host(text)?);
    }
    Ok(found)
}

fn push_to(typed: &OciPushArguments, environment: &Environment, request: &BuildRequest) -> Result<(), Error> {
    let reference = push::reference(&typed.reference)?;
    let source = Source::open(&request.current_directory.join(&typed.source))?;
    let mount_from: Result<Vec<_>, Error> = typed
        .mount_from
        .iter()
        .map(|text| text.parse().or_fail(Kind::Usage, || format!("'{text}' is no repository")))
        .collect();
    let attach: Vec<PathBuf> = typed.attach.iter().map(|path| request.current_directory.join(path)).collect();
    let connection = connection_of(&typed.connection, environment, request)?;
    let connection = connection.to(&reference.host, &request.config.registries);
    let push = Push {
        request,
        connection: &connection,
        name: typed.name.as_deref(),
        reference: &reference,
        mount_from: &mount_from?,
        attach: &attach,
    };
    let done = push.run(&source)?;
    request.reporter.info(&format!(
        "pushed {reference} ({}): sent {} of {}",
        done.digest,
        human_bytes(done.sent),
        human_bytes(done.bytes)
    ));
    Ok(())
}

fn pull_from(typed: &OciPullArguments, environment: &Environment, request: &BuildRequest) -> Result<(), Error> {
    let reference = push::reference(&typed.reference)?;
    let target = request.current_directory.join(&typed.target);
    let destination = Destination::new(target, form(typed.form), typed.force);
    let connection = connection_of(&typed.connection, environment, request)?;
    let connection = connection.to(&reference.host, &request.config.registries);
    let platform = match (&typed.platform, typed.all_platforms) {
        (_, true) => None,
        (Some(platform), _) => Some(platform.clone()),
        (None, _) => Some(pull::own_platform()),
    };
    let pull = Pull { request, connection: &connection, reference: &reference, platform, destination: &destination };
    let digest = pull.run()?;
    request.reporter.info(&format!("pulled {reference} ({digest}) to {}", destination.path.display()));
    Ok(())
}
