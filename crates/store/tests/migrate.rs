//! The schema by itself, on both engines.
#![expect(clippy::unwrap_used, reason = "the helpers of a test fail it as the test does")]

mod chance;
mod cluster;

use chance::chance;
use hushpad_store::{OpenError, Ownership, SchemaVersions, migrate, open, schema_versions};

async fn is_looked_at_and_brought_up_to_date(url: &str) {
    let SchemaVersions { found, known } = schema_versions(url).await.unwrap();
    assert!(found == 0 && known >= 9, "{found} {known}");
    assert_eq!(schema_versions(url).await.unwrap().found, 0, "looking changes nothing");
    assert_eq!(migrate(url).await.unwrap(), SchemaVersions { found: 0, known });
    let up_to_date = SchemaVersions { found: known, known };
    assert_eq!(schema_versions(url).await.unwrap(), up_to_date);
    assert_eq!(migrate(url).await.unwrap(), up_to_date, "a second time does nothing");
    open(url, Ownership::Exclusive(chance())).await.unwrap().close().await;
}

#[tokio::test]
async fn the_schema_of_a_file_is_looked_at_and_brought_up_to_date() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hushpad.db");
    let url = format!("sqlite:{}", path.display());
    assert_eq!(schema_versions(&url).await.unwrap().found, 0);
    assert!(!path.exists(), "looking makes no file");
    is_looked_at_and_brought_up_to_date(&url).await;
    // Not under a server that runs.
    let store = open(&url, Ownership::Exclusive(chance())).await.unwrap();
    assert!(matches!(migrate(&url).await, Err(OpenError::Owned { .. })));
    assert!(schema_versions(&url).await.is_ok());
    store.close().await;
    assert!(matches!(migrate("mysql://x").await, Err(OpenError::NotAUrl)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_schema_of_a_database_is_looked_at_and_brought_up_to_date() {
    is_looked_at_and_brought_up_to_date(&cluster::Database::new().await.url()).await;
}
