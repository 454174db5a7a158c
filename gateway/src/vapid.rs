//! Keys for Web Push: those of the data folder, and new ones for a deployment.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::Path;

use shared::config::{Config, ConfigError, Origins, VapidKeys};
use shared::web_push::vapid;

use crate::private_file;

/// Whom push services can ask about local pushes: nobody, but they require an address.
pub const LOCAL_SUBJECT: &str = "mailto:carillon@example.com";

/// A new pair of keys as environment variables, one a line. The error says what is required of the subject.
pub fn new_keys(subject: &str) -> Result<String, String> {
    let (public, private) = vapid::generate().map_err(|_| "the keys could not be generated")?;
    let private = private.reveal();
    let variables = format!("VAPID_PUBLIC_KEY={public}\nVAPID_PRIVATE_KEY={private}\nVAPID_SUBJECT={subject}\n");
    match read(&variables).map_err(|error| error.to_string())? {
        Some(keys) if keys.subject() == subject => Ok(variables),
        _ => Err("the subject must be a single line".into()),
    }
}

/// The keys in a file, which is made with new ones if it does not exist. Browsers subscribe with the public key, so without
/// the file all subscriptions are lost.
pub(crate) fn local_keys(file: &Path) -> io::Result<VapidKeys> {
    let variables = match fs::read_to_string(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let variables = new_keys(LOCAL_SUBJECT).map_err(io::Error::other)?;
            private_file::create(file, &variables)?;
            variables
        }
        read => read?,
    };
    let invalid = |reason: String| io::Error::new(io::ErrorKind::InvalidData, reason);
    read(&variables).map_err(|error| invalid(error.to_string()))?.ok_or_else(|| invalid("it has no keys".into()))
}

fn read(variables: &str) -> Result<Option<VapidKeys>, ConfigError> {
    let variables: HashMap<&str, &str> = variables.lines().filter_map(|line| line.split_once('=')).collect();
    let config = Config::read(|name| variables.get(name).map(ToString::to_string), &[], Origins::Loopback)?;
    Ok(config.vapid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_keys_are_three_variables_that_the_configuration_accepts() {
        let variables = new_keys("mailto:ops@example.org").unwrap();
        let names: Vec<&str> = variables.lines().filter_map(|line| line.split('=').next()).collect();
        assert_eq!(names, ["VAPID_PUBLIC_KEY", "VAPID_PRIVATE_KEY", "VAPID_SUBJECT"]);
        let keys = read(&variables).unwrap().unwrap();
        assert_eq!(keys.subject(), "mailto:ops@example.org");
        assert!(variables.contains(&format!("VAPID_PUBLIC_KEY={}\n", keys.public_key())));
        assert_ne!(new_keys(LOCAL_SUBJECT).unwrap(), new_keys(LOCAL_SUBJECT).unwrap());
        for subject in ["ops@example.org", "", "mailto:a@b\nVAPID_SUBJECT=mailto:c@d"] {
            assert!(new_keys(subject).is_err(), "{subject}");
        }
    }

    #[test]
    fn the_keys_of_a_folder_are_made_once_and_only_their_owner_reads_them() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("data").join("vapid-keys");
        let made = local_keys(&file).unwrap();
        assert_eq!(local_keys(&file).unwrap().public_key(), made.public_key());
        assert_eq!(made.subject(), LOCAL_SUBJECT);
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        for broken in ["", "hunter2", "VAPID_PUBLIC_KEY=hunter2\nVAPID_PRIVATE_KEY=hunter2\nVAPID_SUBJECT=hunter2"] {
            fs::write(&file, broken).unwrap();
            let error = local_keys(&file).unwrap_err();
            assert!(error.kind() == io::ErrorKind::InvalidData && !error.to_string().contains("hunter2"), "{error}");
        }
    }
}
