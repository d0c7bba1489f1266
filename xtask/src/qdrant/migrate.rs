//! `cargo xtask qdrant migrate`

use std::collections::HashSet;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};

use super::client::{Collection, id, vectors};
use super::shape::Shape;
use super::{COLLECTION, Layout};

/// How many ids are looked up at a time.
const IDS: u32 = 1_000;

/// Between two lines that say how far it is.
const EVERY: Duration = Duration::from_secs(2);

/// From where to where.
#[derive(Clone, Debug, clap::Args)]
pub struct Migrate {
    /// The Qdrant that has the points. Nothing is changed there.
    #[arg(long, value_name = "URL")]
    pub from: String,

    /// The Qdrant that is to have them.
    #[arg(long, value_name = "URL")]
    pub to: String,

    /// The collection, at both.
    #[arg(long, value_name = "NAME", default_value = COLLECTION)]
    pub collection: String,

    #[command(flatten)]
    pub layout: Layout,

    /// How many points go at a time: Qdrant takes 32 MB.
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub page: u32,

    /// Environment variable that holds the source's API key.
    #[arg(long, value_name = "NAME")]
    pub from_api_key_env: Option<String>,

    /// Environment variable that holds the target's API key.
    #[arg(long, value_name = "NAME")]
    pub to_api_key_env: Option<String>,
}

impl Migrate {
    /// Copies the collection. Points keep their ids, so that it can be run again, also after it was interrupted.
    ///
    /// # Errors
    /// Somebody does not answer, the target is there and does not fit, or in the end points are missing or the counts
    /// differ.
    pub(super) async fn run(&self) -> Result<()> {
        let at = |url, key: &Option<String>| Collection::at(url, &self.collection, key.as_deref());
        let from = at(&self.from, &self.from_api_key_env)?;
        let to = at(&self.to, &self.to_api_key_env)?;
        let source = from.info().await?;
        let source = source.with_context(|| format!("{} is not there", from.url()))?;
        self.prepare(&source, &to).await?;
        let total = from.count().await?;
        copy(&from, &to, total, self.page).await?;
        index(&source, &to).await?;
        let missing = missing(&from, &to).await?;
        ensure!(
            missing == 0,
            "{missing} of the points at {} are missing at {}. Where points were written or deleted meanwhile, let that \
             rest and run it again",
            from.url(),
            to.url()
        );
        let (source, target) = (from.count().await?, to.count().await?);
        if source != target {
            bail!(
                "the counts differ: {source} points at {}, {target} at {}. Where points were written or deleted \
                 meanwhile, let that rest and run it again; what else the target has was there before",
                from.url(),
                to.url()
            );
        }
        println!(
            "{target} points at {}, as many as at {}",
            to.url(),
            from.url()
        );
        Ok(())
    }

    /// Makes sure of a target that takes the source's vectors.
    async fn prepare(&self, source: &Value, to: &Collection) -> Result<()> {
        let params = &source["config"]["params"];
        if params["sharding_method"] == "custom" {
            bail!("the source has shard keys of its own, which this does not carry over");
        }
        let Some(target) = to.info().await? else {
            let created = self.layout.of(created_like(source));
            to.create(&created).await?;
            println!(
                "{} is created: {}, replication factor {}",
                to.url(),
                Shape::of(source)?,
                self.layout.replication_factor
            );
            return Ok(());
        };
        let (wanted, there) = (Shape::of(source)?, Shape::of(&target)?);
        ensure!(
            wanted == there,
            "{} is there with {there}, and the source has {wanted}. Nothing was changed: give the target another \
             collection of this name, or none",
            to.url(),
        );
        let factor = &target["config"]["params"]["replication_factor"];
        if factor
            .as_u64()
            .is_some_and(|factor| factor < u64::from(self.layout.replication_factor))
        {
            println!(
                "{} is there with a replication factor of {factor}, which stays",
                to.url()
            );
        }
        Ok(())
    }
}

/// What says how points are kept and found; what depends on the machine is for the target to choose.
fn created_like(source: &Value) -> Value {
    let config = &source["config"];
    let mut created = json!({ "vectors": vectors(source) });
    let carried = [
        ("sparse_vectors", &config["params"]["sparse_vectors"]),
        ("on_disk_payload", &config["params"]["on_disk_payload"]),
        ("hnsw_config", &config["hnsw_config"]),
        ("quantization_config", &config["quantization_config"]),
    ];
    for (key, value) in carried.into_iter().filter(|(_, value)| !value.is_null()) {
        created[key] = value.clone();
    }
    created
}

/// Copies page after page.
async fn copy(from: &Collection, to: &Collection, total: u64, page: u32) -> Result<()> {
    let (mut copied, mut said) = (0_usize, Instant::now());
    let mut pages = from.pages(page, true);
    while let Some(points) = pages.next().await? {
        if !points.is_empty() {
            let points: Vec<Value> = points.into_iter().map(as_sent).collect::<Result<_>>()?;
            to.upsert(&points).await.with_context(|| {
                format!("after {copied} of {total} points; run it again, and it goes on from the beginning")
            })?;
            copied = copied.saturating_add(points.len());
        }
        if said.elapsed() >= EVERY {
            println!("  {copied} of {total} points");
            said = Instant::now();
        }
    }
    println!("  {copied} of {total} points");
    Ok(())
}

/// How many of the source's points the target does not have. Equal counts do not tell: it may have others.
async fn missing(from: &Collection, to: &Collection) -> Result<usize> {
    let mut missing = 0_usize;
    let mut pages = from.pages(IDS, false);
    while let Some(points) = pages.next().await? {
        let ids: Vec<Value> = points.into_iter().map(id).collect();
        if ids.is_empty() {
            continue;
        }
        let there: HashSet<String> = to
            .present(&ids)
            .await?
            .iter()
            .map(Value::to_string)
            .collect();
        let lacking = ids.iter().filter(|id| !there.contains(&id.to_string()));
        missing = missing.saturating_add(lacking.count());
    }
    Ok(missing)
}

/// A point as it is put in: as it was found, without what the source alone knows of it.
fn as_sent(mut point: Value) -> Result<Value> {
    let mut sent = json!({ "id": point["id"].take(), "vector": point["vector"].take() });
    ensure!(
        !sent["vector"].is_null(),
        "the point {} has no vector",
        sent["id"]
    );
    let payload = point["payload"].take();
    if !payload.is_null() {
        sent["payload"] = payload;
    }
    Ok(sent)
}

/// Has payloads be found by the same fields.
async fn index(source: &Value, to: &Collection) -> Result<()> {
    let Some(fields) = source["payload_schema"].as_object() else {
        return Ok(());
    };
    for (field, told) in fields {
        let schema = [&told["params"], &told["data_type"]]
            .into_iter()
            .find(|told| !told.is_null());
        let schema =
            schema.with_context(|| format!("the index on {field:?} is of no type: {told}"))?;
        to.index(field, schema).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[test]
    fn a_page_is_of_a_size_that_qdrant_takes() {
        #[derive(clap::Parser)]
        struct Cli {
            #[command(flatten)]
            migrate: Migrate,
        }

        let page = |page: &str| {
            let to = ["--from", "http://a", "--to", "http://b", "--page", page];
            let cli = Cli::try_parse_from(["migrate"].iter().chain(&to));
            cli.ok().map(|cli| cli.migrate.page)
        };
        assert_eq!((page("1"), page("1000")), (Some(1), Some(1000)));
        assert_eq!((page("0"), page("1001")), (None, None));
    }
}
