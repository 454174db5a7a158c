//! The role of the functions in a Postgres database: it reads and changes rows, and nothing else.

use aws_lc_rs::rand;
use sqlx::{AssertSqlSafe, Row};

use super::scram;
use super::store::{OpenError, PostgresRecord};
use super::timeout::with_timeout;
use crate::config::DatabaseRole;
use crate::error::StoreError;

/// What `psql` runs if the role is given its rights by hand.
const RIGHTS: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../migrations/roles.sql"));

impl PostgresRecord {
    /// Creates the role of the functions if it is missing, and gives it its password and the rights and settings of
    /// `migrations/roles.sql`: all of it or nothing. Repeating it is harmless, and takes up another password. The database
    /// must have been migrated, by the role of this record, which may create roles.
    pub async fn give_functions_role(&self, role: &DatabaseRole) -> Result<(), OpenError> {
        const OWN: &str = "SELECT session_user::text AS role, quote_ident(current_database()) AS database";
        let refused = |error: sqlx::Error| match error {
            sqlx::Error::Database(error) => OpenError::Role(error.message().to_owned()),
            other => OpenError::Role(other.to_string()),
        };
        let mut salt = [0; 16];
        rand::fill(&mut salt).map_err(|_| OpenError::Role("the system has no random bytes".into()))?;
        let connection = self.pooled().await;
        let mut connection =
            connection.map_err(|failure| OpenError::Unreachable(StoreError::from(failure).to_string()))?;
        let own = with_timeout(sqlx::raw_sql(OWN).fetch_one(&mut *connection)).await.map_err(refused)?;
        let own_role: String = own.try_get("role").map_err(refused)?;
        if own_role == role.name {
            // It would lose the right to note which migrations it has applied.
            return Err(OpenError::Role("it is the role that migrates".into()));
        }
        let database: String = own.try_get("database").map_err(refused)?;
        let statements = AssertSqlSafe(statements(role, &database, salt));
        with_timeout(sqlx::raw_sql(statements).execute(&mut *connection)).await.map_err(refused)?;
        Ok(())
    }
}

/// The statements, with the variables of psql replaced. The name of a role needs no escaping ([`DatabaseRole`]), and
/// neither does the stored password; that of the database is quoted. One request of the simple protocol is one transaction.
fn statements(role: &DatabaseRole, database: &str, salt: [u8; 16]) -> String {
    [include_str!("functions_role.sql"), RIGHTS]
        .concat()
        .replace(":'password'", &format!("'{}'", scram::stored(&role.password, salt)))
        .replace(":'functions'", &format!("'{}'", role.name))
        .replace(":\"functions\"", &format!("\"{}\"", role.name))
        .replace(":\"DBNAME\"", database)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;

    #[test]
    fn the_statements_have_no_variable_left_and_no_password() {
        let role = DatabaseRole { name: "f".into(), password: Secret::new("hunter2") };
        let statements = statements(&role, "\"a b\"", [7; 16]);
        for unexpected in [":'", ":\"", "hunter2"] {
            assert!(!statements.contains(unexpected), "{unexpected}: {statements}");
        }
        let rights = "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO \"f\";";
        for expected in [rights, "CREATE ROLE \"f\" LOGIN PASSWORD 'SCRAM-SHA-256$", "IN DATABASE \"a b\" SET jit"] {
            assert!(statements.contains(expected), "{expected}: {statements}");
        }
    }
}
