//! Sessions in PostgreSQL: how they are read back.

use hushpad_domain::event::Event;
use hushpad_domain::ids::{AccountId, AgentId, ProviderSessionGuid, SessionGuid};
use hushpad_domain::listing::{Place, SessionQuery};
use hushpad_domain::ports::StoreUnavailable;
use hushpad_domain::session::{Outcome, Session};
use hushpad_domain::time::Timestamp;
use sqlx::PgPool;
use uuid::Uuid;

use crate::keys::Keys;
use crate::rows::{SessionRow, json, number, state_word};
use crate::unavailable;

/// A session with everything that is kept of it, in one statement: so it is one moment's truth.
macro_rules! read_session {
    ($($condition:literal),+) => {
        concat!(
            "SELECT session.guid, provider, account, configuration, agent, call, links, link, link_state, link_expires_on,
                    amount_minor, currency, state, session.attempt, ended_on, ending, kept_until, webhook, created_on, updated_on, version, events,
                    held.data AS payment_data,
                    (SELECT coalesce(json_agg(json_build_object(
                                'id', attempt.id, 'no', no, 'amount_minor', amount_minor,
                                'currency', currency, 'purpose', purpose, 'gateway', gateway,
                                'intended_on', intended_on, 'updated_on', updated_on, 'state', state,
                                'held', encode(answer.data, 'hex'),
                                'operations', (
                                    SELECT coalesce(json_agg(json_build_object(
                                               'id', operation.id, 'no', operation.no, 'kind', kind,
                                               'amount_minor', operation.amount_minor,
                                               'currency', operation.currency,
                                               'intended_on', operation.intended_on,
                                               'updated_on', operation.updated_on,
                                               'state', operation.state)), '[]')
                                      FROM operation
                                     WHERE operation.session = attempt.session
                                       AND operation.attempt = attempt.no)))::TEXT, '[]')
                       FROM attempt
                       LEFT JOIN held AS answer
                         ON answer.session = attempt.session AND answer.attempt = attempt.no
                      WHERE attempt.session = session.guid) AS attempts
               FROM session
               LEFT JOIN held
                 ON held.session = session.guid AND held.attempt = 0
              WHERE ",
            $($condition),+
        )
    };
}

/// The account's session with this guid.
pub(super) async fn by_guid(
    readers: &PgPool,
    keys: &Keys,
    account: &AccountId,
    guid: SessionGuid,
) -> Result<Option<Session>, StoreUnavailable> {
    let row: Option<SessionRow> = sqlx::query_as(read_session!("session.guid = $1 AND session.account = $2"))
        .bind(guid.0)
        .bind(account.as_str())
        .fetch_optional(readers)
        .await
        .map_err(unavailable)?;
    row.map(|row| row.read(keys)).transpose()
}

/// The session with this guid on the secure side.
pub(super) async fn by_provider(
    readers: &PgPool,
    keys: &Keys,
    guid: ProviderSessionGuid,
) -> Result<Option<Session>, StoreUnavailable> {
    let row: Option<SessionRow> = sqlx::query_as(read_session!("session.provider = $1"))
        .bind(guid.0)
        .fetch_optional(readers)
        .await
        .map_err(unavailable)?;
    row.map(|row| row.read(keys)).transpose()
}

/// The session with an attempt or an operation of this id.
pub(super) async fn by_reference(
    readers: &PgPool,
    keys: &Keys,
    reference: Uuid,
) -> Result<Option<Session>, StoreUnavailable> {
    let row: Option<SessionRow> = sqlx::query_as(read_session!(
        "session.guid IN (SELECT attempt.session FROM attempt WHERE attempt.id = $1
                          UNION ALL
                          SELECT operation.session FROM operation WHERE operation.id = $1)"
    ))
    .bind(reference)
    .fetch_optional(readers)
    .await
    .map_err(unavailable)?;
    row.map(|row| row.read(keys)).transpose()
}

/// The sessions with these guids, of any account: only for what goes to their own account's webhook.
pub(super) async fn by_guids(
    readers: &PgPool,
    keys: &Keys,
    guids: &[Uuid],
) -> Result<Vec<Session>, StoreUnavailable> {
    let rows: Vec<SessionRow> = sqlx::query_as(read_session!("session.guid = ANY ($1)"))
        .bind(guids)
        .fetch_all(readers)
        .await
        .map_err(unavailable)?;
    rows.into_iter().map(|row| row.read(keys)).collect()
}

/// Every session that has not ended, oldest first.
pub(super) async fn unfinished(readers: &PgPool, keys: &Keys) -> Result<Vec<Session>, StoreUnavailable> {
    let rows: Vec<SessionRow> =
        sqlx::query_as(read_session!("session.ended_on IS NULL ORDER BY created_on, session.guid"))
            .fetch_all(readers)
            .await
            .map_err(unavailable)?;
    rows.into_iter().map(|row| row.read(keys)).collect()
}

/// Every session that has ended and still has something to see to, oldest first.
pub(super) async fn unsettled(
    readers: &PgPool,
    keys: &Keys,
    not_charged_after: Timestamp,
) -> Result<Vec<Session>, StoreUnavailable> {
    let rows: Vec<SessionRow> = sqlx::query_as(read_session!(
        "session.ended_on IS NOT NULL
         AND session.guid IN (SELECT operation.session FROM operation WHERE awaited
                              UNION
                              SELECT attempt.session
                                FROM attempt
                               WHERE substr(attempt.state, 1, 22) = '{\"state\":\"not_charged\"'
                                 AND attempt.updated_on > $1)
         ORDER BY created_on, session.guid"
    ))
    .bind(not_charged_after.as_micros())
    .fetch_all(readers)
    .await
    .map_err(unavailable)?;
    rows.into_iter().map(|row| row.read(keys)).collect()
}

/// The account's sessions that the query asks for, newest first. Call, agent and the time of opening narrow the search
/// by an index; a reference is looked for in what is still held, which is little.
pub(super) async fn list(
    readers: &PgPool,
    keys: &Keys,
    account: &AccountId,
    query: &SessionQuery,
) -> Result<Vec<Session>, StoreUnavailable> {
    macro_rules! listed {
        ($narrowed:literal) => {
            read_session!(
                "session.account = $1
                 AND session.created_on >= $5 AND session.created_on < $6
                 AND (session.created_on, session.guid) < ($7, $8)
                 AND ($3::TEXT IS NULL
                      OR $3 = CASE WHEN session.state <> 'ended' THEN session.state
                                   WHEN ending IN ('error', 'time_out', 'expired') THEN ending
                                   ELSE 'finished' END)
                 AND ($4::TEXT IS NULL
                      OR $4 = CASE WHEN ending IN ('approved', 'declined', 'review', 'cancelled', 'unknown')
                                   THEN ending
                                   WHEN session.state = 'processing'
                                    AND EXISTS (SELECT 1
                                                  FROM attempt AS open
                                                 WHERE open.session = session.guid
                                                   AND open.no = session.attempt
                                                   AND substr(open.state, 1, 18) = '{\"state\":\"unknown\"')
                                   THEN 'unknown'
                                   ELSE 'none' END)
                 AND ($11::BYTEA[] IS NULL
                      OR (coalesce(kept_until > $12, TRUE) AND session.reference_tag = ANY ($11)))",
                $narrowed,
                " ORDER BY session.created_on DESC, session.guid DESC LIMIT $9"
            )
        };
    }
    let sql = match (&query.reference, query.call, &query.agent) {
        (Some(_), _, _) => listed!(
            " AND session.holds
              AND ($2::TEXT IS NULL OR session.agent = $2) AND ($10::UUID IS NULL OR session.call = $10)"
        ),
        (None, Some(_), _) => {
            listed!(" AND session.call = $10 AND ($2::TEXT IS NULL OR session.agent = $2)")
        }
        (None, None, Some(_)) => listed!(" AND session.agent = $2 AND $10::UUID IS NULL"),
        (None, None, None) => listed!(" AND $2::TEXT IS NULL AND $10::UUID IS NULL"),
    };
    // A keyed hash, as the reference itself is sealed.
    let tags = query.reference.as_deref().map(|reference| keys.reference_tags(account, reference));
    let after =
        query.after.unwrap_or(Place { created_on: Timestamp::from_micros(i64::MAX), guid: Uuid::max() });
    let rows: Vec<SessionRow> = sqlx::query_as(sql)
        .bind(account.as_str())
        .bind(query.agent.as_ref().map(AgentId::as_str))
        .bind(query.state.map(state_word))
        .bind(query.outcome.map(Outcome::word))
        .bind(query.from.map_or(i64::MIN, Timestamp::as_micros))
        .bind(query.until.map_or(i64::MAX, Timestamp::as_micros))
        .bind(after.created_on.as_micros())
        .bind(after.guid)
        .bind(i64::from(query.limit))
        .bind(query.call.map(|call| call.0))
        .bind(tags)
        .bind(query.now.as_micros())
        .fetch_all(readers)
        .await
        .map_err(unavailable)?;
    rows.into_iter().map(|row| row.read(keys)).collect()
}

/// The events of the account's session after number `after`.
pub(super) async fn events(
    readers: &PgPool,
    account: &AccountId,
    guid: SessionGuid,
    after: u32,
) -> Result<Vec<Event>, StoreUnavailable> {
    let rows: Vec<(i64, i64, String)> = sqlx::query_as(
        "SELECT event.seq, event.at, event.kind
           FROM event
           JOIN session ON session.guid = event.session
          WHERE session.guid = $1
            AND session.account = $2
            AND event.seq > $3
          ORDER BY event.seq",
    )
    .bind(guid.0)
    .bind(account.as_str())
    .bind(i64::from(after))
    .fetch_all(readers)
    .await
    .map_err(unavailable)?;
    rows.into_iter()
        .map(|(seq, at, kind)| {
            Ok(Event {
                seq: number("an event", seq)?,
                at: Timestamp::from_micros(at),
                kind: json("an event", kind.as_bytes())?,
            })
        })
        .collect()
}

/// The beginnings of all that is sealed, each once: they name the keys in use.
pub(super) async fn key_prefixes(readers: &PgPool) -> Result<Vec<Vec<u8>>, StoreUnavailable> {
    let rows: Vec<(Vec<u8>,)> = sqlx::query_as(
        "SELECT substr(data, 1, 9) FROM held
          UNION
         SELECT substr(sealed, 1, 9) FROM notification WHERE told IS NOT NULL AND sealed IS NOT NULL",
    )
    .fetch_all(readers)
    .await
    .map_err(unavailable)?;
    Ok(rows.into_iter().map(|(prefix,)| prefix).collect())
}
