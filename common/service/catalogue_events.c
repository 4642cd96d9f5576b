#include "common/service/catalogue_events.h"

/* What object_id is, by object kind. */
#define CLIENT       "client", "id of the client"
#define ACCOUNT      "account", "id of the account"
#define SUBSCRIPTION "subscription", "id of the subscription"
#define DID          "did", "id of the DID (the number itself is in data)"
#define RATE_EMAIL   "rate_email", "id of the rate email"
#define IMPORT       "import", "id of the import"
#define CHARGE       "charge", "id of the charge"
#define PAYMENT      "payment", "id of the payment"

/* The members of the struct in an order that reads well. */
#define EVENT(id, kind_and_object, object_id, when, data)                                          \
    EVENT_OF(id, kind_and_object, object_id, when, data)
#define EVENT_OF(id, kind, object, object_id, when, data)                                          \
    {                                                                                              \
        id, kind, when, object_id, object, data                                                    \
    }

/* clang-format off */
const catalogue_event_t catalogue_events[] = {
    EVENT("clients.create", CLIENT, "12", "a client was created",
     "{\"name\":\"Acme Telecom GmbH\",\"login\":\"acme\",\"email\":\"noc@acme.example\",\"country\":\"DE\",\"currency\":\"EUR\",\"balance\":0.00,\"credit_limit\":500.00,\"payment_type\":\"prepaid\",\"status\":\"active\"}"),
    EVENT("clients.update", CLIENT, "12", "details of a client changed",
     "{\"name\":\"Acme Telecom GmbH\",\"email\":\"billing@acme.example\",\"credit_limit\":750.00,\"currency\":\"EUR\",\"status\":\"active\",\"changed\":[\"email\",\"credit_limit\"]}"),
    EVENT("clients.archive", CLIENT, "12", "a client was archived", "{}"),
    EVENT("clients.delete", CLIENT, "12", "a client was deleted completely (not the same as archived)", "{}"),
    EVENT("clients.balance_zero", CLIENT, "12", "the balance of a client became zero or less", "{}"),
    EVENT("clients.balance_notzero", CLIENT, "12", "the balance of a client became greater than zero", "{}"),
    EVENT("clients.custom_fields.update", CLIENT, "12", "a custom field of a client changed",
     "{\"field\":\"crm_contract\",\"value\":\"C-2026-0042\",\"old_value\":null}"),
    EVENT("clients.accounts.create", ACCOUNT, "340", "an account of a client was created",
     "{\"client_id\":12,\"name\":\"acme-pbx-1\",\"auth\":\"ip\",\"ip\":\"192.0.2.17\",\"port\":5060,\"codecs\":[\"G711a\",\"G729\"],\"capacity\":30,\"status\":\"active\"}"),
    EVENT("clients.accounts.update", ACCOUNT, "340", "an account of a client changed",
     "{\"client_id\":12,\"name\":\"acme-pbx-1\",\"auth\":\"ip\",\"ip\":\"192.0.2.18\",\"port\":5060,\"capacity\":60,\"status\":\"active\",\"changed\":[\"ip\",\"capacity\"]}"),
    EVENT("clients.accounts.delete", ACCOUNT, "340", "an account of a client was deleted", "{}"),
    EVENT("clients.subscriptions.assign", SUBSCRIPTION, "5021", "a subscription was assigned to a client",
     "{\"client_id\":12,\"package\":\"Flat EU 1000\",\"fee\":29.90,\"currency\":\"EUR\",\"period\":\"month\",\"minutes\":1000,\"starts\":\"2026-02-01\",\"status\":\"pending\"}"),
    EVENT("clients.subscriptions.activate", SUBSCRIPTION, "5021", "a subscription became active",
     "{\"client_id\":12,\"package\":\"Flat EU 1000\",\"fee\":29.90,\"currency\":\"EUR\",\"active_from\":\"2026-02-01\",\"active_till\":\"2026-02-28\",\"status\":\"active\"}"),
    EVENT("clients.subscriptions.deactivate", SUBSCRIPTION, "5021", "a subscription became inactive",
     "{\"client_id\":12,\"package\":\"Flat EU 1000\",\"reason\":\"insufficient_balance\",\"minutes_left\":312,\"status\":\"inactive\"}"),
    EVENT("clients.subscriptions.renew", SUBSCRIPTION, "5021", "a subscription was renewed for another period",
     "{\"client_id\":12,\"package\":\"Flat EU 1000\",\"fee\":29.90,\"currency\":\"EUR\",\"active_from\":\"2026-03-01\",\"active_till\":\"2026-03-31\",\"minutes\":1000,\"status\":\"active\"}"),
    EVENT("clients.subscriptions.close", SUBSCRIPTION, "5021", "a subscription was closed for good",
     "{\"client_id\":12,\"package\":\"Flat EU 1000\",\"closed\":\"2026-03-31\",\"refund\":9.65,\"currency\":\"EUR\",\"status\":\"closed\"}"),
    EVENT("dids.create", DID, "7731", "a DID was created",
     "{\"number\":\"+4930123456\",\"country\":\"DE\",\"area\":\"Berlin\",\"operator_id\":4,\"setup_fee\":1.00,\"monthly_fee\":0.10,\"currency\":\"EUR\",\"channels\":2,\"status\":\"stock\"}"),
    EVENT("dids.update", DID, "7731", "details of a DID changed",
     "{\"number\":\"+4930123456\",\"monthly_fee\":0.15,\"currency\":\"EUR\",\"channels\":4,\"changed\":[\"monthly_fee\",\"channels\"]}"),
    EVENT("dids.activate", DID, "7731", "a DID was activated for a client",
     "{\"number\":\"+4930123456\",\"client_id\":12,\"account_id\":340,\"route\":\"sip:4930123456@192.0.2.17:5060\",\"monthly_fee\":0.10,\"currency\":\"EUR\",\"status\":\"active\"}"),
    EVENT("dids.stock", DID, "7731", "a DID went back to stock",
     "{\"number\":\"+4930123456\",\"previous_client_id\":12,\"previous_status\":\"hold\",\"status\":\"stock\"}"),
    EVENT("dids.block", DID, "7731", "a DID was blocked",
     "{\"number\":\"+4930123456\",\"client_id\":12,\"reason\":\"insufficient_balance\",\"previous_status\":\"active\",\"status\":\"blocked\"}"),
    EVENT("dids.reserve", DID, "7731", "a DID was reserved for a client",
     "{\"number\":\"+4930123456\",\"client_id\":12,\"reserved_till\":\"2026-01-15T12:00:00+00:00\",\"previous_status\":\"stock\",\"status\":\"reserved\"}"),
    EVENT("dids.hold", DID, "7731", "a DID was put on hold after its client gave it up",
     "{\"number\":\"+4930123456\",\"previous_client_id\":12,\"hold_till\":\"2026-04-01T00:00:00+00:00\",\"previous_status\":\"active\",\"status\":\"hold\"}"),
    EVENT("dids.archive", DID, "7731", "a DID was archived",
     "{\"number\":\"+4930123456\",\"operator_id\":4,\"reason\":\"returned_to_operator\",\"status\":\"archived\"}"),
    EVENT("email_rates_manager.import", RATE_EMAIL, "88", "an import file is ready and the import has stopped: the handler's task goes on with it",
     "{\"from\":\"rates@carrier.example\",\"subject\":\"Rate update 2026-01-05\",\"rate_table_id\":31,\"file\":\"/var/spool/rates/88/carrier-2026-01-05.xlsx\",\"file_size\":184320,\"rows\":4312}"),
    EVENT("email_rates_manager.rate_tables_no_match", RATE_EMAIL, "88", "no rate table matches a rate email",
     "{\"from\":\"rates@carrier.example\",\"subject\":\"Rate update 2026-01-05\",\"received\":\"2026-01-05T08:30:12+00:00\",\"candidates\":0}"),
    EVENT("email_rates_manager.no_attachments", RATE_EMAIL, "88", "a rate email has no attachment",
     "{\"from\":\"rates@carrier.example\",\"subject\":\"Rate update 2026-01-05\",\"received\":\"2026-01-05T08:30:12+00:00\"}"),
    EVENT("email_rates_manager.file_processing_error", RATE_EMAIL, "88", "the file of a rate email could not be processed",
     "{\"from\":\"rates@carrier.example\",\"subject\":\"Rate update 2026-01-05\",\"file\":\"carrier-2026-01-05.xlsx\",\"error\":\"column \\\"rate\\\" not found in sheet 1\",\"row\":3}"),
    EVENT("importd.process_success", IMPORT, "4410", "an import ended well",
     "{\"type\":\"rates\",\"rate_table_id\":31,\"file\":\"carrier-2026-01-05.csv\",\"rows\":4312,\"created\":118,\"updated\":4190,\"skipped\":4,\"duration\":12.480}"),
    EVENT("importd.process_failed", IMPORT, "4410", "an import failed",
     "{\"type\":\"rates\",\"rate_table_id\":31,\"file\":\"carrier-2026-01-05.csv\",\"rows\":4312,\"failed_row\":2087,\"error\":\"rate \\\"0,0l5\\\" is not a number\"}"),
    EVENT("accounting.charges.create", CHARGE, "90211", "a charge was created",
     "{\"client_id\":12,\"amount\":29.90,\"tax\":5.68,\"currency\":\"EUR\",\"type\":\"subscription\",\"subscription_id\":5021,\"description\":\"Flat EU 1000, February 2026\",\"balance_after\":120.45}"),
    EVENT("accounting.charges.update", CHARGE, "90211", "a charge changed",
     "{\"client_id\":12,\"amount\":24.90,\"old_amount\":29.90,\"tax\":4.73,\"currency\":\"EUR\",\"type\":\"subscription\",\"balance_after\":126.40}"),
    EVENT("accounting.charges.delete", CHARGE, "90211", "a charge was deleted",
     "{\"client_id\":12,\"amount\":24.90,\"currency\":\"EUR\",\"type\":\"subscription\",\"balance_after\":156.03}"),
    EVENT("accounting.payments.create", PAYMENT, "3317", "a payment was created",
     "{\"client_id\":12,\"amount\":150.00,\"fee\":0.10,\"currency\":\"EUR\",\"method\":\"bank_transfer\",\"reference\":\"RF18539007547034\",\"balance_after\":150.35}"),
    EVENT("accounting.payments.update", PAYMENT, "3317", "a payment changed",
     "{\"client_id\":12,\"amount\":155.00,\"old_amount\":150.00,\"fee\":0.10,\"currency\":\"EUR\",\"method\":\"bank_transfer\",\"balance_after\":155.35}"),
    EVENT("accounting.payments.delete", PAYMENT, "3317", "a payment was deleted",
     "{\"client_id\":12,\"amount\":155.00,\"currency\":\"EUR\",\"method\":\"bank_transfer\",\"reason\":\"chargeback\",\"balance_after\":0.35}"),
};
/* clang-format on */
const size_t catalogue_n_events = sizeof catalogue_events / sizeof *catalogue_events;
