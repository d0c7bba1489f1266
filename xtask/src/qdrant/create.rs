//! `cargo xtask qdrant create`

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};

use super::client::{self, Collection};
use super::shape::Shape;
use super::{COLLECTION, Layout};

/// Where, and for which model.
#[derive(Clone, Debug, clap::Args)]
pub struct Create {
    /// Qdrant's address, or a gateway's before it.
    #[arg(long, value_name = "URL", env = "QDRANT_URL")]
    pub url: String,

    /// The collection.
    #[arg(long, value_name = "NAME", default_value = COLLECTION)]
    pub collection: String,

    /// Ollama's address, or a gateway's before it.
    #[arg(long, value_name = "URL", env = "OLLAMA_BASE_URL")]
    pub model_url: String,

    /// The model that makes the vectors. It is asked for one, to learn how long they are.
    #[arg(long, value_name = "NAME", default_value = "mxbai-embed-large")]
    pub model: String,

    #[command(flatten)]
    pub layout: Layout,

    /// Environment variable that holds Qdrant's API key.
    #[arg(long, value_name = "NAME")]
    pub api_key_env: Option<String>,
}

impl Create {
    /// Creates the collection; one that is there and fits is left as it is.
    ///
    /// # Errors
    /// Somebody does not answer, or the collection is there with another dimension.
    pub(super) async fn run(&self) -> Result<()> {
        let collection = Collection::at(&self.url, &self.collection, self.api_key_env.as_deref())?;
        let size = self.dimension().await?;
        let wanted = json!({ "size": size, "distance": "Cosine" });
        if let Some(info) = collection.info().await? {
            let (there, wanted) = (Shape::of(&info)?, Shape::of_params(&wanted, &Value::Null)?);
            if there != wanted {
                bail!(
                    "{} is there with {there}, and {} takes {wanted}. Nothing was changed: give the new one another \
                     name",
                    collection.url(),
                    self.model,
                );
            }
            println!("{} is there already, with {there}", collection.url());
            return Ok(());
        }
        collection
            .create(&self.layout.of(json!({ "vectors": wanted })))
            .await?;
        println!(
            "{} is created: {size} dimensions, as {} has them",
            collection.url(),
            self.model
        );
        Ok(())
    }

    /// How long the model's vectors are.
    async fn dimension(&self) -> Result<usize> {
        let url = format!("{}/api/embed", client::base(&self.model_url)?);
        let text = json!({ "model": self.model, "input": "How long is a vector?" });
        let answer = client::http()?.post(&url).json(&text).send().await?;
        let status = answer.status();
        let answer: Value = answer
            .json()
            .await
            .with_context(|| format!("{url}: not JSON"))?;
        let said = answer["error"].as_str().unwrap_or("no reason given");
        ensure!(
            status.is_success(),
            "{url}: status {}: {said}",
            status.as_u16()
        );
        let vector = answer["embeddings"][0]
            .as_array()
            .map(Vec::len)
            .filter(|size| *size > 0);
        vector.with_context(|| format!("{url}: {} made no vector", self.model))
    }
}

impl Layout {
    /// A new collection's parameters, with how it is spread.
    pub(super) fn of(&self, mut parameters: Value) -> Value {
        parameters["replication_factor"] = json!(self.replication_factor);
        if let Some(shards) = self.shards {
            parameters["shard_number"] = json!(shards);
        }
        parameters
    }
}
