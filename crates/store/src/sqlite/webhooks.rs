//! Webhook deliveries in SQLite.

use hushpad_domain::ids::{AccountId, DeliveryId, SessionGuid};
use hushpad_domain::ports::StoreUnavailable;
use hushpad_domain::session::{RESULT_RETENTION, Session};
use hushpad_domain::time::Timestamp;
use hushpad_domain::webhook::{Backlog, Delivery, DeliveryList, Listed, Receiver, Tried};
use serde::Serialize;
use sqlx::{SqliteConnection, SqlitePool};

use super::sessions;
use crate::deliveries::{self, DeliveryRow, answer_text, oldest_of_each, state_columns, with_sessions};
use crate::keys::Keys;
use crate::unavailable;

macro_rules! read_delivery {
    ($condition:literal) => {
        concat!(
            "SELECT delivery.id, session.guid, delivery.account, delivery.configuration, delivery.event,
                    delivery.created_on, delivery.since, delivery.tries, delivery.last, delivery.state,
                    delivery.at
               FROM delivery
               JOIN session ON session.id = delivery.session
              WHERE ",
            $condition
        )
    };
}

/// What is due, with its sessions as they are a moment later.
pub(super) async fn due(
    readers: &SqlitePool,
    keys: &Keys,
    receiver: &Receiver,
    now: Timestamp,
    except: &[SessionGuid],
    limit: u32,
) -> Result<Vec<(Delivery, Session)>, StoreUnavailable> {
    let rows: Vec<DeliveryRow> = sqlx::query_as(read_delivery!(
        "delivery.state = 'due' AND delivery.account = $1 AND delivery.configuration = $2
            AND delivery.at <= $3
            AND session.guid NOT IN (SELECT unhex(value) FROM json_each($4))
          ORDER BY delivery.at
          LIMIT $5"
    ))
    .bind(receiver.account.as_str())
    .bind(receiver.configuration.0)
    .bind(now.as_micros())
    .bind(guids_text(except))
    .bind(limit)
    .fetch_all(readers)
    .await
    .map_err(unavailable)?;
    let due = oldest_of_each(rows)?;
    if due.is_empty() {
        return Ok(Vec::new());
    }
    let guids: Vec<SessionGuid> = due.iter().map(|delivery| delivery.session).collect();
    let sessions = sessions::by_guids(readers, keys, &guids_text(&guids)).await?;
    Ok(with_sessions(due, sessions))
}

/// When the next is due.
pub(super) async fn next_due(
    readers: &SqlitePool,
    receiver: &Receiver,
    except: &[SessionGuid],
) -> Result<Option<Timestamp>, StoreUnavailable> {
    let next: Option<(i64,)> = sqlx::query_as(
        "SELECT delivery.at
           FROM delivery
           JOIN session ON session.id = delivery.session
          WHERE delivery.state = 'due' AND delivery.account = $1 AND delivery.configuration = $2
            AND session.guid NOT IN (SELECT unhex(value) FROM json_each($3))
          ORDER BY delivery.at
          LIMIT 1",
    )
    .bind(receiver.account.as_str())
    .bind(receiver.configuration.0)
    .bind(guids_text(except))
    .fetch_optional(readers)
    .await
    .map_err(unavailable)?;
    Ok(next.map(|(at,)| Timestamp::from_micros(at)))
}

/// Every receiver for which something waits.
pub(super) async fn receivers(readers: &SqlitePool) -> Result<Vec<Receiver>, StoreUnavailable> {
    let rows: Vec<(String, i64)> =
        sqlx::query_as("SELECT DISTINCT account, configuration FROM delivery WHERE state = 'due'")
            .fetch_all(readers)
            .await
            .map_err(unavailable)?;
    rows.into_iter().map(|(account, configuration)| deliveries::receiver(account, configuration)).collect()
}

/// How much waits.
pub(super) async fn backlog(readers: &SqlitePool) -> Result<Backlog, StoreUnavailable> {
    let row = sqlx::query_as(
        "SELECT (SELECT count(*) FROM delivery WHERE state = 'due'),
                (SELECT min(created_on) FROM delivery WHERE state = 'due'),
                (SELECT count(*) FROM delivery WHERE state = 'dead')",
    )
    .fetch_one(readers)
    .await
    .map_err(unavailable)?;
    Ok(deliveries::backlog(row))
}

/// The account's deliveries, oldest first.
pub(super) async fn list(
    readers: &SqlitePool,
    list: &DeliveryList,
) -> Result<Vec<Delivery>, StoreUnavailable> {
    // The state is written out, so that the index of that state is used.
    let sql = match list.state {
        Listed::Due => {
            read_delivery!(
                "delivery.state = 'due' AND delivery.account = $1
                    AND ($2 IS NULL OR (delivery.created_on, delivery.id)
                                       > (SELECT created_on, id FROM delivery WHERE id = $2 AND account = $1))
                  ORDER BY delivery.created_on, delivery.id
                  LIMIT $3"
            )
        }
        Listed::Dead => {
            read_delivery!(
                "delivery.state = 'dead' AND delivery.account = $1
                    AND ($2 IS NULL OR (delivery.created_on, delivery.id)
                                       > (SELECT created_on, id FROM delivery WHERE id = $2 AND account = $1))
                  ORDER BY delivery.created_on, delivery.id
                  LIMIT $3"
            )
        }
    };
    let rows: Vec<DeliveryRow> = sqlx::query_as(sql)
        .bind(list.account.as_str())
        .bind(list.after.as_ref().map(|id| id.0.as_bytes().as_slice()))
        .bind(list.limit)
        .fetch_all(readers)
        .await
        .map_err(unavailable)?;
    rows.into_iter().map(DeliveryRow::read).collect()
}

/// Writes down what became of tries. Inside the writer's transaction.
pub(super) async fn settle(connection: &mut SqliteConnection, tried: &str) -> Result<(), sqlx::Error> {
    sqlx::query(
        "UPDATE delivery
            SET state = new.state, at = new.at, last = new.last, tries = tries + 1
           FROM (SELECT unhex(value ->> 'id') AS id, value ->> 'state' AS state, value ->> 'at' AS at,
                        value ->> 'last' AS last
                   FROM json_each($1)) AS new
          WHERE delivery.id = new.id AND delivery.state = 'due';
         UPDATE session
            SET kept_until = min(session.kept_until, done.at + $2)
           FROM (SELECT delivery.session, max(value ->> 'at') AS at
                   FROM json_each($1)
                   JOIN delivery ON delivery.id = unhex(value ->> 'id')
                  WHERE value ->> 'state' = 'delivered'
                  GROUP BY delivery.session) AS done
          WHERE session.id = done.session
            AND session.kept_until IS NOT NULL
            AND NOT EXISTS (SELECT 1
                              FROM delivery AS other
                             WHERE other.session = session.id AND other.state = 'due');",
    )
    .bind(tried)
    .bind(i64::try_from(RESULT_RETENTION.as_micros()).unwrap_or(i64::MAX))
    .execute(connection)
    .await
    .map(|_| ())
}

/// Makes a dead letter due again. Inside the writer's transaction.
pub(super) async fn replay(
    connection: &mut SqliteConnection,
    account: &AccountId,
    id: DeliveryId,
    now: Timestamp,
) -> Result<Option<DeliveryRow>, sqlx::Error> {
    sqlx::query_as(concat!(
        "UPDATE delivery
            SET state = 'due', since = $3, at = $3
          WHERE id = $1 AND account = $2 AND state = 'dead';",
        read_delivery!("delivery.id = $1 AND delivery.account = $2")
    ))
    .bind(id.0.as_bytes().as_slice())
    .bind(account.as_str())
    .bind(now.as_micros())
    .fetch_optional(connection)
    .await
}

/// What `settle` writes, as JSON.
pub(super) fn tried_text(tried: &[Tried]) -> Result<String, StoreUnavailable> {
    #[derive(Serialize)]
    struct Row {
        id: String,
        state: &'static str,
        at: i64,
        last: String,
    }
    let rows: Vec<Row> = tried
        .iter()
        .map(|tried| {
            let (state, at) = state_columns(tried.state);
            Ok(Row { id: tried.id.0.simple().to_string(), state, at, last: answer_text(tried.answer)? })
        })
        .collect::<Result<_, StoreUnavailable>>()?;
    serde_json::to_string(&rows).map_err(|error| StoreUnavailable(format!("tries: {error}")))
}

/// A list of guids in one parameter.
fn guids_text(guids: &[SessionGuid]) -> String {
    let guids: Vec<String> = guids.iter().map(|guid| format!("\"{}\"", guid.0.simple())).collect();
    format!("[{}]", guids.join(","))
}
