//! One call reaches every open socket of a user.

use harness::World;

#[tokio::test]
async fn one_call_reaches_every_socket_of_the_user_and_no_other() {
    let world = World::new().await;
    let (alice, bob) = (world.user("alice"), world.user("bob"));
    let (mut phone, mut laptop, mut other) = (alice.connects().await, alice.connects().await, bob.connects().await);

    let id = world.service("shop").rings(&["alice"], "Your parcel is here").await;

    for device in [&mut phone, &mut laptop] {
        let frame = device.sees("Your parcel is here").await;
        assert_eq!(frame["notification"]["id"], id.as_str());
        assert_eq!(frame["unreadCount"], 1);
    }
    other.sees_nothing().await;
    for device in [&mut phone, &mut laptop] {
        device.sees_nothing().await;
    }
    world.stops().await;
}

#[tokio::test]
async fn a_repeated_send_arrives_once_and_gets_the_first_answer_even_after_a_restart() {
    let world = World::new().await;
    let (alice, shop) = (world.user("alice"), world.service("shop"));
    let mut phone = alice.connects().await;
    let body = r#"{"type":"paid","userIds":["alice","bob"],"title":"Paid","idempotencyKey":"invoice-7"}"#;
    let headers = [("content-type", "application/json")];

    let first = shop.calls("POST", "/api/notifications/send", &headers, body).await;
    assert_eq!((first.status, first.header("idempotency-replayed")), (202, ""));
    phone.sees("Paid").await;

    let spaced = body.replace(',', " , ");
    let repeat = shop.calls("POST", "/api/notifications/send", &headers, &spaced).await;
    assert_eq!((repeat.status, repeat.header("idempotency-replayed")), (202, "true"));
    assert_eq!(repeat.text, first.text);
    phone.sees_nothing().await;

    let inbox = alice.inbox().await;
    let world = world.restarts().await;
    let (alice, shop) = (world.user("alice"), world.service("shop"));
    let repeat = shop.calls("POST", "/api/notifications/send", &headers, body).await;
    assert_eq!((repeat.text, repeat.headers["idempotency-replayed"].to_str().unwrap()), (first.text, "true"));
    assert_eq!(alice.inbox().await, inbox);

    let other = body.replace("Paid", "Not paid");
    let reused = shop.calls("POST", "/api/notifications/send", &headers, &other).await;
    assert_eq!((reused.status, reused.code().as_str()), (422, "idempotency_key_reused"));
    let of_another_sender = world.service("bank").calls("POST", "/api/notifications/send", &headers, body).await;
    assert_eq!(of_another_sender.header("idempotency-replayed"), "");
    world.stops().await;
}
