//! Chats: asking and accepting, talking over sockets and HTTP, unread counts, groups, hiding and restoring.

use harness::device::Device;
use harness::world::{Caller, World};
use serde_json::{Value, json};

/// A direct chat that the other has accepted; returns its id.
pub(crate) async fn chat_of(alice: &Caller, bob: &Caller) -> String {
    let asked = json!({"kind": "direct", "participantIds": [bob.id]});
    let chat = alice.posts("/api/chats", asked).await.expect(201);
    let id = chat["id"].as_str().unwrap().to_owned();
    bob.posts(&format!("/api/chats/{id}/accept"), json!({})).await.expect(200);
    id
}

fn say(chat: &str, client_id: &str, body: &str) -> Value {
    json!({"action": "sendMessage", "chatId": chat, "clientId": client_id, "body": body, "ref": client_id})
}

/// Says something over a socket; returns the stored message. The sender's own frame of it may come before or after.
async fn says(device: &mut Device, chat: &str, client_id: &str, body: &str) -> Value {
    device.sends(say(chat, client_id, body)).await;
    let (first, second) = (device.next().await, device.next().await);
    let (sent, pushed) = if first["type"] == "sent" { (first, second) } else { (second, first) };
    assert_eq!((&sent["type"], &sent["ref"]), (&json!("sent"), &json!(client_id)), "{sent}");
    assert_eq!(pushed["message"], sent["message"], "{pushed}");
    sent["message"].clone()
}

async fn bodies(caller: &Caller, chat: &str) -> Vec<String> {
    let history = caller.gets(&format!("/api/chats/{chat}/messages")).await.expect(200);
    history["items"].as_array().unwrap().iter().map(|item| item["body"].as_str().unwrap().to_owned()).collect()
}

async fn unread(caller: &Caller) -> Value {
    caller.gets("/api/chats/unread").await.expect(200)
}

#[tokio::test]
async fn two_users_ask_accept_and_talk() {
    let world = World::new().await;
    let (alice, bob) = (world.user("alice"), world.user("bob"));
    let (mut phone, mut tablet) = (alice.connects().await, bob.connects().await);

    let asked = json!({"kind": "direct", "participantIds": ["bob"]});
    let chat = alice.posts("/api/chats", asked.clone()).await.expect(201);
    let id = chat["id"].as_str().unwrap();
    assert_eq!(
        (&chat["status"], &chat["memberCount"], &chat["createdBy"]),
        (&json!("PENDING"), &json!(2), &json!("alice"))
    );
    assert_eq!(chat["participants"][0], json!({"userId": "alice", "role": "member", "readSeq": 0}));
    for device in [&mut phone, &mut tablet] {
        let told = device.receives("chat").await["chat"].clone();
        assert_eq!((&told["id"], &told["version"]), (&chat["id"], &json!(1)));
        assert!(told.get("lastMessage").is_none() && told.get("unread").is_none(), "{told}");
    }
    // Asking again finds it, and does not accept what one asked for oneself.
    let again = alice.posts("/api/chats", asked).await.expect(200);
    assert_eq!((&again["id"], &again["status"]), (&chat["id"], &json!("PENDING")));
    let refused = alice.posts(&format!("/api/chats/{id}/accept"), json!({})).await;
    assert_eq!((refused.status, refused.code().as_str()), (409, "conflict"));

    // Until then the creator may say a little, which the other may read and not answer.
    let first = says(&mut phone, id, "m1", "Hi").await;
    assert_eq!(
        (&first["seq"], &first["senderId"], &first["durability"]),
        (&json!(1), &json!("alice"), &json!("durable"))
    );
    assert_eq!(tablet.receives("message").await["message"], first);
    tablet.sends(say(id, "b1", "Who is this?")).await;
    assert_eq!(tablet.receives("error").await["code"], "forbidden");
    assert_eq!(bodies(&bob, id).await, ["Hi"]);

    let accepted = bob.posts("/api/chats", json!({"kind": "direct", "participantIds": ["alice"]})).await.expect(200);
    assert_eq!(
        (&accepted["id"], &accepted["status"], &accepted["version"]),
        (&chat["id"], &json!("ACCEPTED"), &json!(2))
    );
    for device in [&mut phone, &mut tablet] {
        assert_eq!(device.receives("chat").await["chat"]["status"], "ACCEPTED");
    }
    assert_eq!(unread(&bob).await, json!({"total": 1, "chats": {id: 1}}));
    let answer = says(&mut tablet, id, "b1", "Hi Alice").await;
    assert_eq!(answer["seq"], 2);
    assert_eq!(phone.receives("message").await["message"], answer);
    // Who writes has read.
    assert_eq!(unread(&bob).await, json!({"total": 0, "chats": {}}));
    assert_eq!(unread(&alice).await, json!({"total": 1, "chats": {id: 1}}));

    phone.sends(json!({"action": "readChat", "chatId": id, "seq": 99, "ref": "r"})).await;
    let (first, second) = (phone.next().await, phone.next().await);
    let (reply, receipt) = if first["type"] == "ok" { (first, second) } else { (second, first) };
    assert_eq!(reply, json!({"type": "ok", "ref": "r", "unread": 0}));
    assert_eq!(receipt, json!({"type": "receipt", "chatId": id, "userId": "alice", "seq": 2}));
    assert_eq!(tablet.receives("receipt").await, receipt);
    phone.sends(json!({"action": "typing", "chatId": id, "on": true})).await;
    assert_eq!(tablet.next().await, json!({"type": "typing", "chatId": id, "userId": "alice", "on": true}));
    phone.sees_nothing().await;
    world.stops().await;
}

#[tokio::test]
async fn a_message_is_stored_once_whatever_path_its_repeats_take() {
    let world = World::new().await;
    let (alice, bob) = (world.user("alice"), world.user("bob"));
    let id = chat_of(&alice, &bob).await;
    let mut phone = alice.connects().await;
    let first = says(&mut phone, &id, "m1", "Hi").await;
    let path = format!("/api/chats/{id}/messages");
    let repeat = alice.posts(&path, json!({"clientId": "m1", "body": "Hi"})).await;
    assert_eq!(repeat.expect(200), first);
    phone.sends(say(&id, "m1", "Hi")).await;
    assert_eq!(phone.receives("sent").await["message"], first);
    let other = alice.posts(&path, json!({"clientId": "m1", "body": "Hello"})).await;
    assert_eq!((other.status, other.code().as_str()), (422, "idempotency_key_reused"));
    let of_bob = bob.posts(&path, json!({"clientId": "m1", "body": "Hello", "data": {"n": 1}})).await.expect(201);
    assert_eq!((&of_bob["seq"], &of_bob["data"]), (&json!(2), &json!({"n": 1})));
    assert_eq!(bodies(&alice, &id).await, ["Hi", "Hello"]);
    world.stops().await;
}

#[tokio::test]
async fn a_sync_and_a_ping_tell_of_chats() {
    let world = World::new().await;
    let (alice, bob) = (world.user("alice"), world.user("bob"));
    let before = alice.gets("/api/sync").await.expect(200);
    assert_eq!((&before["chats"], &before["chatsComplete"]), (&json!([]), &json!(true)));
    let id = chat_of(&alice, &bob).await;
    let (path, mut phone) = (format!("/api/chats/{id}/messages"), alice.connects().await);
    bob.posts(&path, json!({"clientId": "1", "body": "Hi"})).await.expect(201);
    phone.receives("message").await;
    let after = alice.gets("/api/sync").await.expect(200);
    let chat = json!({"chatId": id, "lastSeq": 1, "readSeq": 0, "unread": 1, "status": "ACCEPTED", "version": 2});
    assert_eq!(after["chats"], json!([chat]));
    assert_ne!(before["etag"], after["etag"]);
    assert_eq!(phone.sees_nothing().await["etag"], after["etag"]);
    let tag = after["etag"].as_str().unwrap();
    let unchanged = alice.calls("GET", "/api/sync", &[("if-none-match", tag)], "").await;
    assert_eq!(unchanged.status, 304);
    // A push that was lost is found by the next ping.
    alice.posts(&format!("/api/chats/{id}/read"), json!({"seq": 1})).await.expect(200);
    phone.receives("receipt").await;
    assert_ne!(phone.sees_nothing().await["etag"], after["etag"]);
    world.stops().await;
}

#[tokio::test]
async fn a_declined_chat_waits_for_the_one_who_declined() {
    let world = World::new().await;
    let (alice, bob) = (world.user("alice"), world.user("bob"));
    let id = chat_of(&alice, &bob).await;
    let (path, ask) = (format!("/api/chats/{id}/messages"), json!({"kind": "direct", "participantIds": ["bob"]}));
    let declined = bob.posts(&format!("/api/chats/{id}/decline"), json!({})).await.expect(200);
    assert_eq!(declined["status"], "DECLINED");
    for caller in [&alice, &bob] {
        let refused = caller.posts(&path, json!({"clientId": "1", "body": "Hi"})).await;
        assert_eq!((refused.status, refused.code().as_str()), (409, "conflict"));
    }
    assert_eq!(alice.posts("/api/chats", ask).await.expect(200)["status"], "DECLINED");
    assert_eq!(alice.posts(&format!("/api/chats/{id}/accept"), json!({})).await.status, 409);
    bob.posts(&format!("/api/chats/{id}/accept"), json!({})).await.expect(200);
    alice.posts(&path, json!({"clientId": "1", "body": "Hi"})).await.expect(201);
    world.stops().await;
}

#[tokio::test]
async fn hiding_clears_a_chat_until_a_later_message_and_restoring_shows_everything() {
    let world = World::new().await;
    let (alice, bob) = (world.user("alice"), world.user("bob"));
    let id = chat_of(&alice, &bob).await;
    let (chat, path) = (format!("/api/chats/{id}"), format!("/api/chats/{id}/messages"));
    for n in 1..=3 {
        bob.posts(&path, json!({"clientId": n.to_string(), "body": n.to_string()})).await.expect(201);
    }
    alice.deletes(&chat).await.expect(204);
    assert_eq!(unread(&alice).await, json!({"total": 0, "chats": {}}));
    assert_eq!(alice.gets("/api/chats").await.expect(200)["items"], json!([]));
    assert_eq!(alice.gets("/api/chats?hidden=true").await.expect(200)["items"][0]["id"], json!(id));
    assert!(bodies(&alice, &id).await.is_empty());
    assert_eq!(bodies(&bob, &id).await, ["1", "2", "3"]);

    bob.posts(&path, json!({"clientId": "4", "body": "4"})).await.expect(201);
    let list = alice.gets("/api/chats").await.expect(200);
    let shown = &list["items"][0];
    assert_eq!(
        (&shown["unread"], &shown["lastMessage"]["body"], &shown["hidden"]),
        (&json!(1), &json!("4"), &json!(false))
    );
    assert_eq!(bodies(&alice, &id).await, ["4"]);
    alice.posts(&format!("{chat}/restore"), json!({})).await.expect(204);
    assert_eq!(bodies(&alice, &id).await, ["1", "2", "3", "4"]);
    world.stops().await;
}

#[tokio::test]
async fn history_is_paged_in_both_directions() {
    let world = World::with(&[("RATE_LIMIT_CHAT", "100/1s")]).await;
    let (alice, bob) = (world.user("alice"), world.user("bob"));
    let id = chat_of(&alice, &bob).await;
    let path = format!("/api/chats/{id}/messages");
    for n in 1..=7 {
        bob.posts(&path, json!({"clientId": n.to_string(), "body": n.to_string()})).await.expect(201);
    }
    for (query, seqs, complete) in [
        ("", vec![1, 2, 3, 4, 5, 6, 7], true),
        ("?limit=3", vec![5, 6, 7], false),
        ("?limit=3&before=5", vec![2, 3, 4], false),
        ("?before=2", vec![1], true),
        ("?before=0", vec![], true),
        ("?after=0&limit=2", vec![1, 2], false),
        ("?after=5", vec![6, 7], true),
        ("?after=7", vec![], true),
        ("?after=9007199254740991", vec![], true),
    ] {
        let page = alice.gets(&format!("{path}{query}")).await.expect(200);
        let found: Vec<i64> =
            page["items"].as_array().unwrap().iter().map(|item| item["seq"].as_i64().unwrap()).collect();
        assert_eq!((found, &page["complete"]), (seqs, &json!(complete)), "{query}");
    }
    for query in ["?before=1&after=1", "?before=-1", "?after=x", "?limit=0", "?before=", "?seq=1"] {
        let refused = alice.gets(&format!("{path}{query}")).await;
        assert_eq!((refused.status, refused.code().as_str()), (422, "validation_failed"), "{query}");
    }
    world.stops().await;
}

#[tokio::test]
async fn a_group_is_changed_by_its_members_and_its_owner() {
    let world = World::new().await;
    let [alice, bob, carol, dave] = ["alice", "bob", "carol", "dave"].map(|name| world.user(name));
    let made = json!({"kind": "group", "participantIds": ["bob", "bob", "alice"], "title": "Lunch", "clientId": "g1"});
    let group = alice.posts("/api/chats", made.clone()).await.expect(201);
    let id = group["id"].as_str().unwrap();
    let chat = format!("/api/chats/{id}");
    assert_eq!((&group["status"], &group["memberCount"]), (&json!("ACCEPTED"), &json!(2)));
    assert_eq!(group["participants"][0]["role"], "owner");
    assert_eq!(alice.posts("/api/chats", made).await.expect(200)["id"], group["id"]);
    let other = json!({"kind": "group", "participantIds": ["dave"], "clientId": "g1"});
    assert_eq!(alice.posts("/api/chats", other).await.code(), "idempotency_key_reused");

    alice.posts(&format!("{chat}/messages"), json!({"clientId": "1", "body": "Hungry?"})).await.expect(201);
    let mut tablet = carol.connects().await;
    let added = bob.posts(&format!("{chat}/members"), json!({"userIds": ["carol", "alice"]})).await.expect(200);
    assert_eq!((&added["memberCount"], &added["version"]), (&json!(3), &json!(2)));
    assert_eq!(tablet.receives("chat").await["chat"]["memberCount"], 3);
    // Joining shows everything, with nothing unread.
    assert_eq!(bodies(&carol, id).await, ["Hungry?"]);
    assert_eq!(unread(&carol).await["total"], 0);
    let renamed = carol.calls("PATCH", &chat, &[("content-type", "application/json")], r#"{"title":"Dinner"}"#).await;
    assert_eq!(renamed.expect(200)["title"], "Dinner");
    tablet.receives("chat").await;

    assert_eq!(bob.posts(&format!("{chat}/members/remove"), json!({"userIds": ["carol"]})).await.code(), "forbidden");
    alice.posts(&format!("{chat}/members/remove"), json!({"userIds": ["carol", "dave"]})).await.expect(200);
    assert_eq!(tablet.next().await, json!({"type": "chat", "chatId": id, "removed": true}));
    for path in [chat.clone(), format!("{chat}/messages"), format!("{chat}/members")] {
        assert_eq!(carol.gets(&path).await.status, 404, "{path}");
        assert_eq!(dave.gets(&path).await.status, 404, "{path}");
    }
    tablet.sends(say(id, "c1", "Still there?")).await;
    assert_eq!(tablet.receives("error").await["code"], "not_found");

    alice.posts(&format!("{chat}/leave"), json!({})).await.expect(204);
    assert_eq!(alice.gets(&chat).await.status, 404);
    let members = bob.gets(&format!("{chat}/members")).await.expect(200);
    assert_eq!((&members["items"][0]["userId"], &members["items"][0]["role"]), (&json!("bob"), &json!("owner")));
    bob.posts(&format!("{chat}/leave"), json!({})).await.expect(204);
    assert_eq!(bob.gets(&chat).await.status, 404);
    world.stops().await;
}

#[tokio::test]
async fn a_direct_chat_has_no_title_and_two_members_for_good() {
    let world = World::new().await;
    let (alice, bob) = (world.user("alice"), world.user("bob"));
    let chat = format!("/api/chats/{}", chat_of(&alice, &bob).await);
    for (path, body) in [
        ("members", json!({"userIds": ["carol"]})),
        ("members/remove", json!({"userIds": ["bob"]})),
        ("leave", json!({})),
    ] {
        assert_eq!(alice.posts(&format!("{chat}/{path}"), body).await.code(), "conflict", "{path}");
    }
    let renamed = alice.calls("PATCH", &chat, &[("content-type", "application/json")], r#"{"title":"Us"}"#).await;
    assert_eq!(renamed.code(), "conflict");
    world.stops().await;
}

#[tokio::test]
async fn malformed_calls_are_refused_by_the_member_that_is_wrong() {
    let world = World::new().await;
    let (alice, bob) = (world.user("alice"), world.user("bob"));
    let id = chat_of(&alice, &bob).await;
    let many: Vec<String> = (0..1_001).map(|n| n.to_string()).collect();
    for (body, fields) in [
        (json!({}), vec!["kind", "participantIds"]),
        (json!({"kind": "pair", "participantIds": ["bob"]}), vec!["kind"]),
        (json!({"kind": "direct", "participantIds": []}), vec!["participantIds"]),
        (json!({"kind": "direct", "participantIds": ["alice"]}), vec!["participantIds"]),
        (json!({"kind": "direct", "participantIds": ["bob", "carol"]}), vec!["participantIds"]),
        (json!({"kind": "direct", "participantIds": ["bob"], "title": "Us"}), vec!["title"]),
        (json!({"kind": "group", "participantIds": ["bob", 7, ""]}), vec!["participantIds[1]", "participantIds[2]"]),
        (json!({"kind": "group", "participantIds": many}), vec!["participantIds"]),
        (json!({"kind": "group", "participantIds": &many[..1_000]}), vec!["participantIds"]),
        (json!({"kind": "group", "participantIds": ["bob"], "title": "two\nlines"}), vec!["title"]),
        (json!({"kind": "group", "participantIds": ["bob"], "clientId": "é"}), vec!["clientId"]),
        (json!({"kind": "group", "participantIds": ["bob"], "to": 1}), vec!["to"]),
    ] {
        let refused = alice.posts("/api/chats", body).await;
        assert_eq!(refused.status, 422, "{refused:?}");
        assert_eq!(refused.json()["error"]["fields"], json!(fields));
    }
    for (body, fields) in [
        (json!({}), vec!["clientId", "body"]),
        (json!({"clientId": "1", "body": ""}), vec!["body"]),
        (json!({"clientId": "1", "body": " \n\u{200b}"}), vec!["body"]),
        (json!({"clientId": "1", "body": "x".repeat(4_001)}), vec!["body"]),
        (json!({"clientId": "1", "body": "a\u{7}"}), vec!["body"]),
        (json!({"clientId": "", "body": "a"}), vec!["clientId"]),
        (json!({"clientId": 1, "body": "a"}), vec!["clientId"]),
        (json!({"clientId": "1", "body": "a", "data": []}), vec!["data"]),
        (json!({"clientId": "1", "body": "a", "data": {"x": "y".repeat(16 * 1_024)}}), vec!["data"]),
        (json!({"clientId": "1", "body": "a", "accept": "later"}), vec!["accept"]),
        (json!({"clientId": "1", "body": "a", "seq": 1}), vec!["seq"]),
    ] {
        let refused = alice.posts(&format!("/api/chats/{id}/messages"), body).await;
        assert_eq!(refused.status, 422, "{refused:?}");
        assert_eq!(refused.json()["error"]["fields"], json!(fields));
    }
    for seq in [json!(-1), json!(1.5), json!("1"), json!(null), json!(1e300)] {
        let refused = alice.posts(&format!("/api/chats/{id}/read"), json!({"seq": seq})).await;
        assert_eq!(refused.json()["error"]["fields"], json!(["seq"]), "{seq}");
    }
    for path in [
        "/api/chats/7",
        "/api/chats/d9a24cc6-f5c2-8bb7-a2a6-3e0d1d39d4b1",
        &format!("/api/chats/{}", id.to_uppercase()),
    ] {
        assert_eq!(alice.gets(path).await.status, 404, "{path}");
    }
    world.stops().await;
}
