//! Which variables name a secret in AWS Secrets Manager in place of their value.

use super::secret::Secret;
use super::variables::Variables;

/// The variables that may name one: all whose values are secret.
pub(super) const VARIABLES: [&str; 12] = [
    "DATABASE_URL",
    "DATABASE_PASSWORD",
    "FUNCTIONS_DATABASE_URL",
    "FUNCTIONS_DATABASE_PASSWORD",
    "REDIS_URL",
    "REDIS_URLS",
    "REDIS_USERNAME",
    "REDIS_PASSWORD",
    "JWT_SECRET",
    "JWT_ENCRYPTION_KEY",
    "JWT_SECRET_PREVIOUS",
    "VAPID_PRIVATE_KEY",
];
/// The partitions of AWS, and the domain of each.
const PARTITIONS: [(&str, &str); 3] =
    [("aws", "amazonaws.com"), ("aws-cn", "amazonaws.com.cn"), ("aws-us-gov", "amazonaws.com")];

/// A secret, or a member of the JSON in it: `arn:aws:secretsmanager:REGION:ACCOUNT:secret:NAME#MEMBER`.
///
/// No ARN contains a `#`, so a template can cut the ARN off there to name it in a policy. ECS separates the member by a colon,
/// which the ARN is full of, and lets a version follow, which no rotation would replace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretName {
    /// The secret, as policies name it.
    pub arn: String,
    /// Its name, with the six characters that Secrets Manager adds: for messages.
    pub name: String,
    /// Where it is read.
    pub region: String,
    /// The member; `None` if the whole text is the value.
    pub member: Option<String>,
    domain: &'static str,
}

/// The secrets that variables name, and how they are read: what has to be known before the rest of the configuration.
#[derive(Debug, Clone)]
pub struct SecretNames {
    /// By variable. `None` if the variable is meant to name a secret and names none.
    pub names: Vec<(&'static str, Option<SecretName>)>,
    /// `AWS_ENDPOINT_URL_SECRETS_MANAGER`, as every AWS SDK reads it: where secrets are read, if not at AWS.
    pub endpoint: Option<String>,
    /// As [`Config::credentials`](super::Config::credentials).
    pub credentials: Option<(String, Secret, Option<Secret>)>,
}

impl SecretName {
    /// The secret that a variable names; `None` if it does not name one in this form.
    fn parse(text: &str) -> Option<Self> {
        let (arn, member) = text.split_once('#').map_or((text, None), |(arn, member)| (arn, Some(member)));
        let parts: Vec<&str> = arn.splitn(7, ':').collect();
        let ["arn", partition, "secretsmanager", region, account, "secret", name] = parts[..] else { return None };
        let (_, domain) = PARTITIONS.into_iter().find(|(known, _)| *known == partition)?;
        let is_region = !region.is_empty() && region.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        let is_account = account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit());
        // Names that services of AWS give begin with theirs and a `!`.
        let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"/_+=.@!-".contains(&byte);
        let is_name = (1..=519).contains(&name.len()) && name.bytes().all(is_part);
        let is_good = is_region && is_account && is_name && member != Some("");
        is_good.then(|| Self {
            arn: arn.to_owned(),
            name: name.to_owned(),
            region: region.to_owned(),
            member: member.map(str::to_owned),
            domain,
        })
    }

    /// The URL at which AWS answers for its region.
    pub fn endpoint(&self) -> String {
        format!("https://secretsmanager.{}.{}", self.region, self.domain)
    }
}

impl SecretNames {
    /// Reads variables from any source.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Self {
        let vars = Variables::new(variable);
        let named = |name: &'static str| {
            // No value of these variables begins so.
            let text = vars.get(name).filter(|text| text.starts_with("arn:"))?;
            Some((name, SecretName::parse(&text)))
        };
        Self {
            names: VARIABLES.into_iter().filter_map(named).collect(),
            endpoint: vars.get("AWS_ENDPOINT_URL_SECRETS_MANAGER"),
            credentials: vars.credentials(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARN: &str = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:shop/database-AbCdEf";

    #[test]
    fn a_secret_is_named_by_its_arn_and_a_member_by_what_follows() {
        let whole = SecretName::parse(ARN).unwrap();
        assert_eq!((whole.arn.as_str(), whole.name.as_str(), &whole.member), (ARN, "shop/database-AbCdEf", &None));
        let member = SecretName::parse(&format!("{ARN}#pass#word")).unwrap();
        assert_eq!((member.arn.as_str(), member.member.as_deref()), (ARN, Some("pass#word")));
        let managed = "arn:aws:secretsmanager:us-east-1:123456789012:secret:rds!cluster-6c5eca22-AbCdEf#password";
        assert_eq!(SecretName::parse(managed).unwrap().name, "rds!cluster-6c5eca22-AbCdEf");
    }

    #[test]
    fn each_partition_has_its_domain() {
        for (partition, region, endpoint) in [
            ("aws", "eu-west-1", "https://secretsmanager.eu-west-1.amazonaws.com"),
            ("aws-cn", "cn-north-1", "https://secretsmanager.cn-north-1.amazonaws.com.cn"),
            ("aws-us-gov", "us-gov-west-1", "https://secretsmanager.us-gov-west-1.amazonaws.com"),
        ] {
            let arn = format!("arn:{partition}:secretsmanager:{region}:123456789012:secret:x-AbCdEf");
            let name = SecretName::parse(&arn).unwrap();
            assert_eq!((name.region.as_str(), name.endpoint()), (region, endpoint.to_owned()));
        }
    }

    #[test]
    fn what_is_no_arn_of_a_secret_names_none() {
        for text in [
            "arn:",
            "arn:aws:secretsmanager:eu-west-1:123456789012:secret:",
            "arn:aws:secretsmanager:eu-west-1:123456789012:secret:x-AbCdEf#",
            "arn:aws:secretsmanager:eu-west-1:123456789012:secret:x-AbCdEf:password::",
            "arn:aws:secretsmanager:eu-west-1:123456789012:x-AbCdEf",
            "arn:aws:secretsmanager:eu-west-1:1234:secret:x-AbCdEf",
            "arn:aws:secretsmanager::123456789012:secret:x-AbCdEf",
            "arn:aws:secretsmanager:evil.example/:123456789012:secret:x-AbCdEf",
            "arn:aws:secretsmanager:eu-west-1:123456789012:secret:a b",
            "arn:aws:ssm:eu-west-1:123456789012:parameter/x",
            "arn:aws-else:secretsmanager:eu-west-1:123456789012:secret:x-AbCdEf",
        ] {
            assert_eq!(SecretName::parse(text), None, "{text}");
        }
    }

    #[test]
    fn only_variables_with_secrets_name_one() {
        let variable = |name: &str| match name {
            "JWT_SECRET" => Some(format!(" {ARN}#value ")),
            "DATABASE_URL" => Some("postgres://u:hunter2@h/x".into()),
            "DRAIN_FUNCTION" => Some(ARN.into()),
            "REDIS_PASSWORD" => Some("arn:hunter2".into()),
            "AWS_ENDPOINT_URL_SECRETS_MANAGER" => Some("http://127.0.0.1:1".into()),
            _ => None,
        };
        let SecretNames { names, endpoint, credentials } = SecretNames::read(variable);
        let secret = SecretName::parse(&format!("{ARN}#value"));
        assert!(secret.is_some());
        assert_eq!(names, [("REDIS_PASSWORD", None), ("JWT_SECRET", secret)]);
        assert_eq!((endpoint.as_deref(), credentials), (Some("http://127.0.0.1:1"), None));
    }
}
