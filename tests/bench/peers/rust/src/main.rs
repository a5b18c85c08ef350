// The handlers of ../../../endpoint.c on the Rust SDK.
use restate_sdk::prelude::*;
use std::time::Duration;

struct Bench;

#[service]
impl Bench {
    #[handler]
    async fn greet(&self, _: Context<'_>, name: String) -> Result<String, HandlerError> {
        Ok(format!("Hello {name}!"))
    }

    #[handler]
    async fn replay(&self, ctx: Context<'_>, steps: u64) -> Result<u64, HandlerError> {
        let mut sum = 0;
        for _ in 0..steps {
            sum += ctx.run(|| async { Ok(1u64) }).name("step").await?;
        }
        Ok(sum)
    }

    #[handler]
    async fn sleep(&self, ctx: Context<'_>, millis: u64) -> Result<u64, HandlerError> {
        ctx.sleep(Duration::from_millis(millis)).await?;
        Ok(millis)
    }

    #[handler]
    async fn echo(&self, _: Context<'_>, value: String) -> Result<String, HandlerError> {
        Ok(value)
    }
}

struct BenchCounter;

#[object]
impl BenchCounter {
    #[handler]
    async fn add(&self, ctx: ObjectContext<'_>, step: i64) -> Result<i64, HandlerError> {
        let sum = ctx.get::<i64>("count").await?.unwrap_or(0) + step;
        ctx.set("count", sum);
        Ok(sum)
    }
}

#[tokio::main]
async fn main() {
    let port = std::env::var("PORT").unwrap_or_else(|_| "9080".into());
    HttpServer::new(Endpoint::builder().bind(Bench).bind(BenchCounter).build())
        .listen_and_serve(format!("127.0.0.1:{port}").parse().unwrap())
        .await;
}
