use super::*;

#[test]
fn the_question_is_a_search_for_our_reference() {
    let wire = cybersource().query(&Step::default(), &fixtures::attempt("12.40", "GBP"), fixtures::now());
    let wire = wire.unwrap();
    assert_eq!(wire.endpoint.target, "/tss/v2/searches");
    insta::assert_snapshot!(std::str::from_utf8(wire.body.as_ref()).unwrap(), @r#"{"save":false,"timezone":"UTC","query":"clientReferenceInformation.code:00000000000000000000000007","offset":0,"limit":20,"sort":"submitTimeUtc:desc"}"#);
    assert_eq!(cybersource().caps().settle_time, SETTLE_MIN);
}

fn found(count: usize, auth: &str, bill: &str) -> String {
    let summary = format!(
        r#"{{"id":"6461731521426399003473","clientReferenceInformation":{{"code":"{CODE}"}},"orderInformation":{{"amountDetails":{{"totalAmount":"12.4","currency":"GBP"}}}},"applicationInformation":{{"applications":[{{"name":"ics_auth","reasonCode":"{auth}"}},{{"name":"ics_bill","reasonCode":"{bill}"}}]}}}}"#
    );
    let summaries = vec![summary; count].join(",");
    format!(
        r#"{{"query":"clientReferenceInformation.code:{CODE}","totalCount":{count},"_embedded":{{"transactionSummaries":[{summaries}]}}}}"#
    )
}

#[test]
fn only_a_clear_word_about_our_reference_counts_when_asking() {
    let verdict = |asked| match asked {
        ParsedQuery::Found(answer) => Some(answer.verdict),
        ParsedQuery::Next(_) | ParsedQuery::NotFound | ParsedQuery::Indeterminate(_) => None,
    };
    assert_eq!(verdict(asked(201, &found(1, "100", "100"))), Some(Verdict::Approved));
    assert_eq!(verdict(asked(201, &found(1, "480", "480"))), Some(Verdict::Review));
    let never = Verdict::Declined { class: DeclineClass::Never };
    assert_eq!(verdict(asked(201, &found(1, "205", ""))), Some(never));
    assert_eq!(asked(201, &found(0, "", "")), ParsedQuery::NotFound);
    let without_list = format!(r#"{{"query":"clientReferenceInformation.code:{CODE}","totalCount":0}}"#);
    assert_eq!(asked(201, &without_list), ParsedQuery::NotFound);
    for (status, body) in [
        (201, found(2, "100", "100")),
        (201, found(1, "100", "")),
        (201, found(1, "151", "")),
        (201, found(1, "100", "100").replace("12.4", "12.41")),
        (201, found(1, "100", "100").replace("GBP", "USD")),
        (201, found(1, "100", "100").replace("ics_bill", "ics_auth_reversal")),
        (201, found(0, "", "").replace(CODE, "another")),
        (201, r#"{"totalCount":0}"#.to_owned()),
        (404, found(0, "", "")),
        (500, found(0, "", "")),
        (201, "{}".to_owned()),
    ] {
        let said = asked(status, &body);
        assert!(matches!(said, ParsedQuery::Indeterminate(_)), "{status} {body}: {said:?}");
    }
    assert_eq!(asked(500, ""), ParsedQuery::Indeterminate(Unknown::GatewayError));
}

#[test]
fn a_part_that_the_search_finds_is_looked_at_once_more() {
    let read = |step: &Step, attempt: &Attempt, status, body: &str| {
        cybersource().parse_query(step, attempt, &fixtures::reply(status, body.as_bytes()))
    };
    let sale = fixtures::attempt("12.40", "GBP");
    let look = Step { no: question::LOOK, ids: vec!["6461731521426399003473".to_owned()] };
    assert_eq!(asked(201, &found(1, "110", "")), ParsedQuery::Next(look.clone()));
    let held = Attempt { purpose: Purpose::Authorise, ..sale.clone() };
    assert_eq!(read(&Step::default(), &held, 201, &found(1, "110", "")), ParsedQuery::Next(look.clone()));
    let wire = cybersource().query(&look, &sale, fixtures::now()).unwrap();
    assert_eq!((wire.method, wire.body.as_ref().len()), (Method::GET, 0));
    assert_eq!(wire.endpoint.target, "/tss/v2/transactions/6461731521426399003473");
    let part = format!(
        r#"{{"id":"6461731521426399003473","clientReferenceInformation":{{"code":"{CODE}"}},"orderInformation":{{"amountDetails":{{"totalAmount":"12.4","authorizedAmount":"6.2","currency":"GBP"}}}},"applicationInformation":{{"applications":[{{"name":"ics_auth","reasonCode":"110"}}]}}}}"#
    );
    let ParsedQuery::Found(answer) = read(&look, &sale, 200, &part) else { panic!("no answer") };
    let approved = fixtures::attempt("6.20", "GBP").amount;
    assert_eq!(answer.verdict, Verdict::Partial { approved });
    assert_eq!(answer.gateway_reference, "6461731521426399003473");
    assert_eq!((&*answer.result["decision"], &*answer.result["reasonCode"]), ("REJECT", "110"));
    for (status, body) in [
        (200, part.replace(CODE, "another")),
        (200, part.replace("6461731521426399003473", "6461731521426399003474")),
        (200, part.replace("6.2", "12.40")),
        (200, part.replace("6.2", "13")),
        (200, part.replace("GBP", "USD")),
        (200, part.replace("authorizedAmount", "settledAmount")),
        (200, part.replace("\"110\"", "\"100\"")),
        (200, part.replace("ics_auth\"", "ics_auth_reversal\"")),
        (201, part.clone()),
        (404, NOWHERE.to_owned()),
        (502, part.clone()),
    ] {
        let said = read(&look, &sale, status, &body);
        assert!(matches!(said, ParsedQuery::Indeterminate(_)), "{status} {body}: {said:?}");
    }
    // It cannot stand in a path, or somebody has let go of it.
    let odd = found(1, "110", "").replace("6461731521426399003473", "646/../1");
    let reversed = found(1, "110", "").replace("ics_bill", "ics_auth_reversal");
    for body in [odd, reversed, found(2, "110", "")] {
        assert!(matches!(asked(201, &body), ParsedQuery::Indeterminate(_)), "{body}");
    }
}
