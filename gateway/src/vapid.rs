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
    let text = format!("VAPID_PUBLIC_KEY={public}\nVAPID_PRIVATE_KEY={private}\nVAPID_SUBJECT={subject}\n");
    match read(&variables(&text)).map_err(|error| error.to_string())? {
        Some(keys) if keys.subject() == subject => Ok(text),
        _ => Err("the subject must be a single line".into()),
    }
}

/// The keys in a file, which is made with new ones if it does not exist, and the environment variables for them. Browsers
/// subscribe with the public key, so without the file all subscriptions are lost.
pub(crate) fn local_keys(file: &Path) -> io::Result<(VapidKeys, HashMap<String, String>)> {
    let text = match fs::read_to_string(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let text = new_keys(LOCAL_SUBJECT).map_err(io::Error::other)?;
            private_file::create(file, &text)?;
            text
        }
        read => read?,
    };
    let invalid = |reason: String| io::Error::new(io::ErrorKind::InvalidData, reason);
    let variables = variables(&text);
    let keys = read(&variables).map_err(|error| invalid(error.to_string()))?;
    Ok((keys.ok_or_else(|| invalid("it has no keys".into()))?, variables))
}

/// Environment variables, one a line.
fn variables(text: &str) -> HashMap<String, String> {
    let lines = text.lines().filter_map(|line| line.split_once('='));
    lines.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn read(variables: &HashMap<String, String>) -> Result<Option<VapidKeys>, ConfigError> {
    Ok(Config::read(|name| variables.get(name).cloned(), &[], Origins::Loopback)?.vapid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_keys_are_three_variables_that_the_configuration_accepts() {
        let text = new_keys("mailto:ops@example.org").unwrap();
        let names: Vec<&str> = text.lines().filter_map(|line| line.split('=').next()).collect();
        assert_eq!(names, ["VAPID_PUBLIC_KEY", "VAPID_PRIVATE_KEY", "VAPID_SUBJECT"]);
        let keys = read(&variables(&text)).unwrap().unwrap();
        assert_eq!(keys.subject(), "mailto:ops@example.org");
        assert!(text.contains(&format!("VAPID_PUBLIC_KEY={}\n", keys.public_key())));
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
        let (made, variables) = local_keys(&file).unwrap();
        assert_eq!(local_keys(&file).unwrap().0.public_key(), made.public_key());
        assert_eq!(variables["VAPID_PUBLIC_KEY"], made.public_key());
        assert_eq!(made.subject(), LOCAL_SUBJECT);
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        for broken in ["", "hunter2", "VAPID_PUBLIC_KEY=hunter2\nVAPID_PRIVATE_KEY=hunter2\nVAPID_SUBJECT=hunter2"] {
            fs::write(&file, broken).unwrap();
            let error = local_keys(&file).unwrap_err();
            assert!(error.kind() == io::ErrorKind::InvalidData && !error.to_string().contains("hunter2"), "{error}");
        }
    }
}
