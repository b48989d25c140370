//! Images: pulled when missing, with credentials, and known by what decides about them.

use libtest_mimic::Failed;
use serde_json::json;
use trueup_engine::{Blame, Estate, Execute, TargetError};
use trueup_plan::Act;

use crate::{
    Test,
    rig::Rig,
    world::{IMAGE, World, failure, in_world, workload},
};

pub(crate) fn tests() -> Vec<(&'static str, Test)> {
    vec![
        ("an_image_is_pulled_with_a_password_and_keeps_its_identity", pulled),
        ("a_wrong_password_is_the_targets_matter", wrong_password),
        ("an_image_that_does_not_exist_is_the_manifests_matter", missing),
        ("a_local_tag_that_moved_is_a_change", moved_tag),
    ]
}

/// Declares a component whose image is in the private registry, under a tag of this test's own.
async fn private(world: &mut World, rig: &Rig, tag: &str, password: Option<&str>) -> Result<String, Failed> {
    let (host, user, real) = rig.registry.clone().ok_or("the rig has no registry")?;
    let repository = format!("{host}/{}", world.identity.environment);
    let options = bollard::query_parameters::TagImageOptionsBuilder::new().repo(&repository).tag(tag).build();
    world.api.tag_image(IMAGE, Some(options)).await?;
    let credentials = bollard::auth::DockerCredentials {
        username: Some(user.clone()),
        password: Some(real.clone()),
        ..Default::default()
    };
    let options = bollard::query_parameters::PushImageOptionsBuilder::new().tag(tag).build();
    let pushed: Vec<_> =
        futures::StreamExt::collect(world.api.push_image(&repository, Some(options), Some(credentials)))
            .await;
    for part in pushed {
        part?;
    }
    let reference = format!("{repository}:{tag}");
    forget(world, &reference).await?;
    let digest = world.content(password.unwrap_or(&real), true);
    world.declare("web", json!({"image": reference, "pull": {"secret": "secrets/r.age#p", "user": user}}));
    let deliveries = world.deliveries.entry("web".parse().unwrap()).or_default();
    deliveries.pull = Some(digest);
    Ok(reference)
}

async fn forget(world: &World, reference: &str) -> Result<(), Failed> {
    let none = None::<bollard::query_parameters::RemoveImageOptions>;
    world.api.remove_image(reference, none, None).await?;
    Ok(())
}

async fn fetch_fails(world: &mut World) -> Result<TargetError, Failed> {
    let acts = world.creation().await?;
    let fetch = acts.iter().find(|(_, act)| matches!(act, Act::Fetch { .. })).ok_or("nothing is pulled")?;
    let run = world.next_run();
    match world.docker.execute(&run, &fetch.0, &fetch.1).await {
        Ok(()) => Err("it was pulled".into()),
        Err(error) => Ok(error),
    }
}

fn pulled(rig: &Rig) -> Result<(), Failed> {
    in_world(rig, async |mut world| {
        let reference = private(&mut world, rig, "1", None).await?;
        let (_, before) = world.look().await?;
        let id = before.resources[&workload("web")].spec["image"]["id"].clone();
        assert!(before.resources[&workload("web")].fetch.is_some());
        world.up().await?;
        let (live, desired) = world.look().await?;
        assert_eq!(
            desired.resources[&workload("web")].spec["image"]["id"],
            id,
            "pulling changed the identity"
        );
        assert_eq!(live.resources[&workload("web")].spec, desired.resources[&workload("web")].spec);
        assert!(desired.resources[&workload("web")].fetch.is_none());
        // The same image by its digest is no change.
        let by_digest = format!("{reference}@{}", id.as_str().unwrap());
        world.patch("web", json!({"image": by_digest}));
        let (live, desired) = world.look().await?;
        assert_eq!(live.resources[&workload("web")].spec, desired.resources[&workload("web")].spec);
        world.docker.destroy(&world.identity, true).await.map_err(|error| failure(&error))?;
        forget(&world, &reference).await?;
        world.up().await?;
        world.docker.destroy(&world.identity, true).await.map_err(|error| failure(&error))?;
        forget(&world, &by_digest).await
    })
}

fn wrong_password(rig: &Rig) -> Result<(), Failed> {
    in_world(rig, async |mut world| {
        private(&mut world, rig, "2", Some("wrong-password")).await?;
        let error = fetch_fails(&mut world).await?;
        assert_eq!(error.blame, Blame::Target, "{error:?}");
        assert!(error.message.contains("refused"), "{error:?}");
        assert!(!format!("{error:?}").contains("wrong-password"));
        Ok(())
    })
}

fn missing(rig: &Rig) -> Result<(), Failed> {
    in_world(rig, async |mut world| {
        let reference = private(&mut world, rig, "3", None).await?.replace(":3", ":4");
        world.patch("web", json!({"image": reference}));
        let error = fetch_fails(&mut world).await?;
        assert_eq!(error.blame, Blame::Manifest, "{error:?}");
        assert_eq!(error.message, format!("image `{reference}` does not exist"));
        Ok(())
    })
}

fn moved_tag(rig: &Rig) -> Result<(), Failed> {
    in_world(rig, async |mut world| {
        let name = world.identity.environment.to_string();
        let tag = |from: &'static str| {
            let options =
                bollard::query_parameters::TagImageOptionsBuilder::new().repo(&name).tag("x").build();
            let api = world.api.clone();
            async move { api.tag_image(from, Some(options)).await }
        };
        tag(IMAGE).await?;
        let move_tag = tag("trueup-test/busybox:2");
        let reference = format!("{name}:x");
        world.declare("web", json!({"image": reference}));
        world.up().await?;
        move_tag.await?;
        let (live, desired) = world.look().await?;
        let resource = workload("web");
        assert_ne!(live.resources[&resource].spec["image"], desired.resources[&resource].spec["image"]);
        let acts = world.replacement(&resource).await?;
        let run = world.next_run();
        world.execute(&run, &acts).await.map_err(|error| failure(&error))?;
        world.finish(&run, &acts).await?;
        let (live, desired) = world.look().await?;
        assert_eq!(live.resources[&resource].spec, desired.resources[&resource].spec);
        world.docker.destroy(&world.identity, true).await.map_err(|error| failure(&error))?;
        forget(&world, &reference).await
    })
}
