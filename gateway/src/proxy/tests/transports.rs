//! How long servers are waited for.

use config::routing::transport::Transport;

use super::*;

fn setup(url: &str, transport: Transport) -> Setup {
    let mut setup = Setup::new().route("blog", "Host(`blog.test`)", &[url.to_owned()]);
    setup.routing.services.get_mut("blog@test").unwrap().transport = Arc::new(transport);
    setup
}

fn impatient() -> Transport {
    Transport { response_header_timeout: Some(Duration::from_millis(300)), ..Transport::default() }
}

#[tokio::test]
async fn a_server_that_does_not_answer_in_time_is_given_up() {
    let (address, task) = listen(|mut client| async move {
        client.head().await;
        client.rest().await;
    })
    .await;
    let proxy = setup(&format!("http://{address}"), impatient()).serve();
    let reply = proxy.ask("GET / HTTP/1.1\r\nHost: blog.test\r\n\r\n").await;
    assert_eq!(reply.status(), 504);
    // Over HTTP/2 too, where no other request suffers for it.
    let mut sender = http2::client(&proxy).await;
    let request = http::Request::get("http://blog.test/").body(http2::empty()).unwrap();
    assert_eq!(sender.send_request(request).await.unwrap().status(), 504);
    for record in proxy.records(2).await {
        assert_eq!((&*record.reason, record.retries), ("server_timeout", 0));
    }
    task.abort();
}

#[tokio::test]
async fn the_time_to_an_answer_begins_with_the_end_of_the_request_and_ends_with_the_head() {
    let pause = Duration::from_millis(600);
    let (address, task) = listen(move |mut client| async move {
        loop {
            client.head().await;
            client.exactly(10).await;
            client.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello").await;
            tokio::time::sleep(pause).await;
            client.send("world").await;
        }
    })
    .await;
    let proxy = setup(&format!("http://{address}"), impatient()).serve();
    let mut client = proxy.connect().await;
    for _ in 0..2 {
        client.send("POST / HTTP/1.1\r\nHost: blog.test\r\nContent-Length: 10\r\n\r\n12345").await;
        tokio::time::sleep(pause).await;
        client.send("67890").await;
        let reply = client.reply().await;
        assert_eq!((reply.status(), reply.text()), (200, "helloworld"));
    }
    task.abort();
}
