//! Creating chats in Postgres.

use super::chats::find;
use super::connections;
use super::rows::texts;
use crate::chat::chats::{Change, Changed, Created, NewChat};
use crate::chat::{Kind, Status};
use crate::clock::At;
use crate::record::postgres::failure::Failure;
use crate::record::postgres::rows::{at_ms, broken, column};
use crate::record::postgres::sql::sql;
use crate::record::postgres::store::PostgresRecord;
use crate::record::postgres::timeout::{Db, Run, begin, commit};

/// Stores a chat and its members, unless there is one with its id; of concurrent inserts the later ones wait and store
/// nothing. Members get their numbers in the order of the list, the creator's first.
const INSERT: &str = sql!(
    (", chat AS (
         INSERT INTO chats (id, kind, status, title, created_by, owner, fingerprint, created_at, active_at)
         SELECT $2, $3, $4, $5, $6, $7, $8, now_ms, now_ms FROM clock
         ON CONFLICT (id) DO NOTHING
         RETURNING id, created_at
     )
     INSERT INTO chat_members (chat_id, user_id, joined_at, involved)
     SELECT chat.id, joining.user_id, chat.created_at, joining.place = 1
       FROM chat, unnest($9::text[]) WITH ORDINALITY AS joining (user_id, place)
      ORDER BY joining.place")
);

impl PostgresRecord {
    pub(super) async fn try_create(&self, new: &NewChat<'_>, at: At) -> Result<Created, Failure> {
        let mut connection = self.connection().await?;
        let mut transaction = begin(&mut connection).await?;
        if !insert(&mut transaction, new, at).await? {
            drop(transaction);
            drop(connection);
            return self.try_meet(new, at).await;
        }
        let chat = find(&mut transaction, new.id, new.creator).await?;
        let connections = connections(&mut transaction, new.id, at).await?;
        commit(transaction).await?;
        Ok(Created::New(Changed { chat, has_effect: true, connections, removed: Vec::new() }))
    }

    /// What is there already under the id of a chat to be created.
    async fn try_meet(&self, new: &NewChat<'_>, at: At) -> Result<Created, Failure> {
        let mut connection = self.connection().await?;
        let fingerprint = sqlx::query("SELECT fingerprint FROM chats WHERE id = $1").bind(new.id.as_uuid());
        let Some(row) = fingerprint.read_optional(&mut connection).await? else {
            // It has ended since.
            return Err(Failure::Lost);
        };
        if new.kind == Kind::Group && column::<Vec<u8>>(&row, "fingerprint")? != new.fingerprint {
            return Ok(Created::Reused);
        }
        let Some(known) = find(&mut connection, new.id, new.creator).await? else { return Ok(Created::Left) };
        drop(connection);
        if new.kind == Kind::Direct && known.chat.status != Status::Accepted {
            // Asking back accepts, for the member who may; for the other it changes nothing.
            if let Ok(changed) = self.try_change_chat(new.id, new.creator, &Change::Accept, at).await? {
                return Ok(if changed.has_effect {
                    Created::Accepted(changed)
                } else {
                    Created::Known(changed.chat.ok_or_else(|| broken("chat_members"))?)
                });
            }
        }
        Ok(Created::Known(known))
    }
}

/// Whether it was stored.
async fn insert(db: &mut Db<'_>, new: &NewChat<'_>, at: At) -> Result<bool, Failure> {
    let status = if new.kind == Kind::Direct { Status::Pending } else { Status::Accepted };
    let mut members = vec![new.creator.as_str()];
    members.extend(texts(new.others));
    let query = sqlx::query(INSERT)
        .bind(at_ms(at))
        .bind(new.id.as_uuid())
        .bind(new.kind.name())
        .bind(status.name())
        .bind(new.title)
        .bind(new.creator.as_str())
        .bind((new.kind == Kind::Group).then_some(new.creator.as_str()))
        .bind(new.fingerprint.as_slice())
        .bind(members);
    Ok(query.run(db).await? > 0)
}
