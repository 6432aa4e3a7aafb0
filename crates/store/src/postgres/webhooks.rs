//! Webhook deliveries in PostgreSQL.

use hushpad_domain::ids::{AccountId, DeliveryId, SessionGuid};
use hushpad_domain::ports::StoreUnavailable;
use hushpad_domain::session::{RESULT_RETENTION, Session};
use hushpad_domain::time::Timestamp;
use hushpad_domain::webhook::{Backlog, Delivery, DeliveryList, Listed, Receiver, Tried};
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::sessions;
use super::writer::GroupError;
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
               JOIN session ON session.guid = delivery.session
              WHERE ",
            $condition
        )
    };
}

/// What is due, with its sessions as they are a moment later.
pub(super) async fn due(
    readers: &PgPool,
    keys: &Keys,
    receiver: &Receiver,
    now: Timestamp,
    except: &[SessionGuid],
    limit: u32,
) -> Result<Vec<(Delivery, Session)>, StoreUnavailable> {
    let rows: Vec<DeliveryRow> = sqlx::query_as(read_delivery!(
        "delivery.state = 'due' AND delivery.account = $1 AND delivery.configuration = $2
            AND delivery.at <= $3
            AND delivery.session <> ALL ($4)
          ORDER BY delivery.at
          LIMIT $5"
    ))
    .bind(receiver.account.as_str())
    .bind(i64::from(receiver.configuration.0))
    .bind(now.as_micros())
    .bind(guids(except))
    .bind(i64::from(limit))
    .fetch_all(readers)
    .await
    .map_err(unavailable)?;
    let due = oldest_of_each(rows)?;
    if due.is_empty() {
        return Ok(Vec::new());
    }
    let sessions: Vec<Uuid> = due.iter().map(|delivery| delivery.session.0).collect();
    let sessions = sessions::by_guids(readers, keys, &sessions).await?;
    Ok(with_sessions(due, sessions))
}

/// When the next is due.
pub(super) async fn next_due(
    readers: &PgPool,
    receiver: &Receiver,
    except: &[SessionGuid],
) -> Result<Option<Timestamp>, StoreUnavailable> {
    let next: Option<(i64,)> = sqlx::query_as(
        "SELECT at
           FROM delivery
          WHERE state = 'due' AND account = $1 AND configuration = $2
            AND session <> ALL ($3)
          ORDER BY at
          LIMIT 1",
    )
    .bind(receiver.account.as_str())
    .bind(i64::from(receiver.configuration.0))
    .bind(guids(except))
    .fetch_optional(readers)
    .await
    .map_err(unavailable)?;
    Ok(next.map(|(at,)| Timestamp::from_micros(at)))
}

/// Every receiver for which something waits.
pub(super) async fn receivers(readers: &PgPool) -> Result<Vec<Receiver>, StoreUnavailable> {
    let rows: Vec<(String, i64)> =
        sqlx::query_as("SELECT DISTINCT account, configuration FROM delivery WHERE state = 'due'")
            .fetch_all(readers)
            .await
            .map_err(unavailable)?;
    rows.into_iter().map(|(account, configuration)| deliveries::receiver(account, configuration)).collect()
}

/// How much waits.
pub(super) async fn backlog(readers: &PgPool) -> Result<Backlog, StoreUnavailable> {
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
pub(super) async fn list(readers: &PgPool, list: &DeliveryList) -> Result<Vec<Delivery>, StoreUnavailable> {
    // The state is written out, so that the index of that state is used.
    let sql = match list.state {
        Listed::Due => {
            read_delivery!(
                "delivery.state = 'due' AND delivery.account = $1
                    AND ($2::UUID IS NULL
                         OR (delivery.created_on, delivery.id)
                            > (SELECT created_on, id FROM delivery WHERE id = $2 AND account = $1))
                  ORDER BY delivery.created_on, delivery.id
                  LIMIT $3"
            )
        }
        Listed::Dead => {
            read_delivery!(
                "delivery.state = 'dead' AND delivery.account = $1
                    AND ($2::UUID IS NULL
                         OR (delivery.created_on, delivery.id)
                            > (SELECT created_on, id FROM delivery WHERE id = $2 AND account = $1))
                  ORDER BY delivery.created_on, delivery.id
                  LIMIT $3"
            )
        }
    };
    let rows: Vec<DeliveryRow> = sqlx::query_as(sql)
        .bind(list.account.as_str())
        .bind(list.after.map(|id| id.0))
        .bind(i64::from(list.limit))
        .fetch_all(readers)
        .await
        .map_err(unavailable)?;
    rows.into_iter().map(DeliveryRow::read).collect()
}

/// Writes down what became of tries, if `epoch` is still the newest.
///
/// # Errors
/// The store has a newer owner, or PostgreSQL refused.
pub(super) async fn settle(
    connection: &mut PgConnection,
    tried: &[Tried],
    epoch: i64,
) -> Result<Result<(), StoreUnavailable>, GroupError> {
    let (mut ids, mut states, mut times, mut answers) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for tried in tried {
        let (state, at) = state_columns(tried.state);
        match answer_text(tried.answer) {
            Ok(answer) => answers.push(answer),
            Err(error) => return Ok(Err(error)),
        }
        ids.push(tried.id.0);
        states.push(state);
        times.push(at);
    }
    // All parts of one statement see what was before it: "due" beside those that are settled here.
    let (ours,): (i64,) = sqlx::query_as(
        "WITH ours AS (
             SELECT epoch FROM owner WHERE id = 1 AND epoch = $5 FOR SHARE
         ), new AS (
             SELECT *
               FROM unnest($1::UUID[], $2::TEXT[], $3::BIGINT[], $4::TEXT[]) AS new (id, state, at, last), ours
         ), settled AS (
             UPDATE delivery
                SET state = new.state, at = new.at, last = new.last, tries = tries + 1
               FROM new
              WHERE delivery.id = new.id AND delivery.state = 'due'
          RETURNING delivery.session, delivery.id, delivery.state, delivery.at
         ), done AS (
             SELECT session, max(at) AS at
               FROM settled
              WHERE state = 'delivered'
              GROUP BY session
         ), released AS (
             UPDATE session
                SET kept_until = least(session.kept_until, done.at + $6)
               FROM done
              WHERE session.guid = done.session
                AND session.kept_until IS NOT NULL
                AND NOT EXISTS (SELECT 1
                                  FROM delivery AS other
                                 WHERE other.session = session.guid
                                   AND other.state = 'due'
                                   AND NOT EXISTS (SELECT 1
                                                     FROM settled
                                                    WHERE settled.id = other.id AND settled.state <> 'due'))
         )
         SELECT count(*) FROM ours",
    )
    .bind(ids)
    .bind(states)
    .bind(times)
    .bind(answers)
    .bind(epoch)
    .bind(i64::try_from(RESULT_RETENTION.as_micros()).unwrap_or(i64::MAX))
    .fetch_one(connection)
    .await?;
    if ours == 0 { Err(GroupError::Fenced) } else { Ok(Ok(())) }
}

/// Makes a dead letter due again. Inside the writer's transaction, or alone: the second statement only reads.
pub(super) async fn replay(
    connection: &mut PgConnection,
    account: &AccountId,
    id: DeliveryId,
    now: Timestamp,
) -> Result<Option<DeliveryRow>, sqlx::Error> {
    sqlx::query(
        "UPDATE delivery
            SET state = 'due', since = $3, at = $3
          WHERE id = $1 AND account = $2 AND state = 'dead'",
    )
    .bind(id.0)
    .bind(account.as_str())
    .bind(now.as_micros())
    .execute(&mut *connection)
    .await?;
    sqlx::query_as(read_delivery!("delivery.id = $1 AND delivery.account = $2"))
        .bind(id.0)
        .bind(account.as_str())
        .fetch_optional(connection)
        .await
}

fn guids(guids: &[SessionGuid]) -> Vec<Uuid> {
    guids.iter().map(|guid| guid.0).collect()
}
