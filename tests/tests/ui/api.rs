//! The API as somebody uses it who has no pages, and means no good.

use std::fs;

use anyhow::{Result, ensure};
use ipfix_balancer_tests::http::request;
use ipfix_balancer_tests::net::{V4, free_address};
use serde_json::{Value, json};

use crate::scene::{ADMIN, JSON, READER, Scene, body};

/// Method, path, body of everything that changes something.
const CHANGES: [(&str, &str, &str); 8] = [
    (
        "POST",
        "/api/servers",
        r#"{"name":"n","host":"h","login":"","sudo":false,"type":"IPFIX-balancer server"}"#,
    ),
    (
        "PUT",
        "/api/servers/n",
        r#"{"name":"n","host":"h","login":"","sudo":false,"type":"IPFIX-balancer server"}"#,
    ),
    ("DELETE", "/api/servers/n", ""),
    ("POST", "/api/servers/local/test", "{}"),
    ("POST", "/api/servers/local/configuration/preview", r#"{"changes":[]}"#),
    ("POST", "/api/servers/local/configuration/apply", r#"{"revision":"","changes":[]}"#),
    ("POST", "/api/servers/local/configuration/undo", r#"{"revision":""}"#),
    ("DELETE", "/api/session", ""),
];

#[test]
fn nothing_is_told_or_done_without_signing_in() -> Result<()> {
    let scene = Scene::new()?;
    for path in [
        "servers",
        "servers/local/status",
        "servers/local/configuration",
        "servers/local/log",
        "audit",
        "openapi.json",
    ] {
        let answer = request(scene.address, "GET", &format!("/api/{path}"), &[], "")?;
        ensure!(answer.status == 401, "{path}: {answer:?}");
    }
    for (method, path, body) in CHANGES {
        let answer = request(scene.address, method, path, &[JSON], body)?;
        ensure!(answer.status == 401, "{method} {path}: {answer:?}");
    }
    Ok(())
}

#[test]
fn a_change_takes_the_session_s_token_and_the_role() -> Result<()> {
    let scene = Scene::new()?;
    let (admin, reader) = (scene.client(ADMIN)?, scene.client(READER)?);
    for (method, path, body) in CHANGES {
        for token in [None, Some(("x-csrf-token", reader.csrf.as_str()))] {
            let header: Vec<_> =
                [("cookie", admin.cookie.as_str()), JSON].into_iter().chain(token).collect();
            let answer = request(scene.address, method, path, &header, body)?;
            ensure!(answer.status == 403, "{method} {path}, token {token:?}: {answer:?}");
        }
        if path != "/api/session" {
            let answer = reader.send(method, path, body)?;
            ensure!(answer.status == 403, "{method} {path}: {answer:?}");
        }
    }
    ensure!(reader.send("GET", "/api/servers/local/configuration", "")?.status == 200);
    ensure!(reader.send("DELETE", "/api/session", "")?.status == 204);
    ensure!(reader.send("GET", "/api/servers", "")?.status == 401);
    Ok(())
}

#[test]
fn answers_are_guarded_and_hold_no_secret() -> Result<()> {
    let scene = Scene::new()?;
    for path in ["/", "/main.js", "/api/servers", "/nothing"] {
        let answer = request(scene.address, "GET", path, &[], "")?;
        let policy =
            "content-security-policy: default-src 'none'; script-src 'self'; style-src 'self'";
        ensure!(answer.header.iter().any(|line| line.starts_with(policy)), "{path}: {answer:?}");
        ensure!(!answer.body.contains("unsafe"), "{path}");
    }
    let cookie = scene.attempt(ADMIN.0, ADMIN.1)?.header;
    let cookie =
        cookie.iter().find(|line| line.starts_with("set-cookie")).cloned().unwrap_or_default();
    ensure!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
    let admin = scene.client(ADMIN)?;
    let changes = json!({"changes": [{"set": {"key": "IPFIX_DNSFLOW_PORT[0]", "value": "1"}}]});
    let preview =
        admin.send("POST", "/api/servers/local/configuration/preview", &changes.to_string())?;
    ensure!(
        preview.body.contains("SECRET=***") && !preview.body.contains("somebody"),
        "{preview:?}"
    );
    for path in ["servers/local/configuration", "servers/local/log", "audit"] {
        let answer = admin.send("GET", &format!("/api/{path}"), "")?;
        ensure!(answer.status == 200 && !answer.body.contains("somebody"), "{path}: {answer:?}");
        ensure!(!answer.body.contains("argon2") && !answer.body.contains(ADMIN.1), "{path}");
    }
    ensure!(!scene.daemon.log().contains(ADMIN.1));
    Ok(())
}

#[test]
fn changes_are_checked_applied_once_and_noted() -> Result<()> {
    let port = free_address(V4)?.port();
    let scene = Scene::new()?;
    let admin = scene.client(ADMIN)?;
    let path = "/api/servers/local/configuration";
    let revision = admin.get(path)?["revision"].clone();
    let change = |port: &str| json!([{"set": {"key": "IPFIX_DNSFLOW_PORT[0]", "value": port}}]);
    let apply = |revision: &Value, port: &str| {
        let changes = json!({"revision": revision, "changes": change(port)});
        admin.send("POST", &format!("{path}/apply"), &changes.to_string())
    };
    let faulty = apply(&revision, "0")?;
    ensure!(faulty.status == 422, "{faulty:?}");
    ensure!(body(&faulty)?["form"]["faults"][0]["key"] == "IPFIX_DNSFLOW_PORT[0]");
    let applied = apply(&revision, &port.to_string())?;
    ensure!(applied.status == 200 && body(&applied)?["in_force"] == true, "{applied:?}");
    ensure!(apply(&revision, "2")?.status == 409);
    ensure!(scene.file()?.contains(&format!("IPFIX_DNSFLOW_PORT[0]={port}")));
    scene.daemon.wait_for("DNSFLOW[0]", "it listens", |_| true)?;
    // What no file can hold.
    let revision = admin.get(path)?["revision"].clone();
    ensure!(apply(&revision, "1\nSHELL=x")?.status == 502);
    let trail = admin.get("/api/audit")?;
    let done: Vec<_> = trail
        .as_array()
        .into_iter()
        .flatten()
        .map(|entry| (entry["action"].clone(), entry["done"].clone()))
        .collect();
    let expected =
        [("apply", false), ("apply", false), ("apply", true), ("apply", false), ("sign_in", true)];
    ensure!(done == expected.map(|(action, done)| (json!(action), json!(done))), "{done:?}");
    Ok(())
}

#[test]
fn equipment_is_checked_and_kept() -> Result<()> {
    let scene = Scene::new()?;
    let admin = scene.client(ADMIN)?;
    let server = |name: &str, host: &str| {
        json!({"name": name, "host": host, "login": "", "sudo": true, "type": "IPFIX-balancer server"}).to_string()
    };
    ensure!(
        admin.send("POST", "/api/servers", &server("two", "-oProxyCommand=touch${IFS}x"))?.status
            == 422
    );
    ensure!(admin.send("POST", "/api/servers", &server("local", "h"))?.status == 422);
    ensure!(admin.send("POST", "/api/servers", &server("two", "h"))?.status == 201);
    ensure!(admin.send("PUT", "/api/servers/two", &server("three", "h"))?.status == 204);
    ensure!(admin.send("DELETE", "/api/servers/two", "")?.status == 404);
    ensure!(admin.send("DELETE", "/api/servers/local", "")?.status == 404);
    ensure!(admin.get("/api/servers")?["remote"][0]["name"] == "three");
    ensure!(fs::read_to_string(scene.data().join("equipment.json"))?.contains("three"));
    Ok(())
}

#[test]
fn the_description_is_the_one_in_the_documents() -> Result<()> {
    let scene = Scene::new()?;
    let served = scene.client(ADMIN)?.get("/api/openapi.json")?;
    let documented: Value = serde_json::from_str(include_str!("../../../docs/openapi.json"))?;
    ensure!(served == documented, "docs/openapi.json is not what /api/openapi.json says");
    Ok(())
}
