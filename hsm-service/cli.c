#include "hsm-service/cli.h"

#include "hsm-service/audit_cli.h"
#include "hsm-service/ceremony.h"
#include "hsm-service/key_propose.h"
#include "posward/hsm/v1/hsm.pb-c.h"
#include "posward/hsm/v1/keys.pb-c.h"

#define CONTROL(command_group, command_name, rpc, text)                                                      \
    {                                                                                                        \
        .group = (command_group), .name = (command_name), .help = (text), .endpoint = "hsm_control",         \
        .service = &posward__hsm__v1__control__descriptor, .method = (rpc)                                   \
    }
#define DATA(command_name, rpc, text)                                                                        \
    {                                                                                                        \
        .group = "hsm", .name = (command_name), .help = (text), .endpoint = "hsm",                           \
        .service = &posward__hsm__v1__data_plane__descriptor, .method = (rpc)                                \
    }

static const struct cli_option init_options[] = {
    {"hsm-config", "FILE", "The HSM service's configuration: which token."},
    {"zone", "NAME[:SUITE]", "A business unit.", .several = true},
    {0},
};
static const struct cli_option load_options[] = {
    {"hsm-config", "FILE", "The HSM service's configuration: which token."},
    {"role", "psam-master|card-control|storage|blob-tag|zone-pin|zone-mac|zone-data", "What the key is for."},
    {"suite", "tdes|aes-128|aes-256", "Its algorithm and length."},
    {"zone", "NAME", "Whose, for zone keys."},
    {"version", "NUMBER", "1 to 255; needed when the key is there already."},
    {"component", "FILE", "A component; 2 to 9 of them.", .several = true},
    {"custodians", "NUMBER", "How many will type; 2 when not given."},
    {"odd-parity", NULL, "Refuse a TDES component that has a byte of even parity."},
    {0},
};

#define KEYS(command_name, rpc, text)                                                                        \
    {                                                                                                        \
        .group = "key", .name = (command_name), .help = (text), .endpoint = "hsm_control",                   \
        .service = &posward__hsm__v1__key_management__descriptor, .method = (rpc)                            \
    }
#define PROPOSAL(verb, function, text)                                                                       \
    {                                                                                                        \
        .group = "key", .name = (verb), .help = (text), .run = key_##function, .options = OPTIONS_##function \
    }
#define OPTIONS_propose_create     key_create_options
#define OPTIONS_propose_rotate     key_rotate_options
#define OPTIONS_propose_import     key_import_options
#define OPTIONS_propose_activate   key_activate_options
#define OPTIONS_propose_deactivate key_deactivate_options
#define OPTIONS_propose_destroy    key_destroy_options
#define OPTIONS_propose_policy     key_policy_options
#define OPTIONS_proposals          key_proposals_options
#define OPTIONS_approve            key_approve_options
#define OPTIONS_reject             key_reject_options
#define OPTIONS_show               key_show_options

#define AUDIT_KINDS "service|login|key|refusal|use|ceremony|checkpoint|torn|lost"
static const struct cli_option verify_options[] = {
    {"log", "FILE", "A folder of log files, or a file; oldest first.", .several = true},
    {"public-key", "FILE", "PEM, as the service wrote it at its first start."},
    {"expect-seq", "NUMBER", "The log must reach this record."},
    {"expect-hash", "HEX", "And that record must have this hash."},
    {"unsigned-most", "NUMBER", "Fail when more records stand after the last one that is signed."},
    {"partial", NULL, "The first files may be elsewhere."},
    {0},
};
static const struct cli_option show_options[] = {
    {"log", "FILE", "A folder of log files, or a file; oldest first.", .several = true},
    {"public-key", "FILE", "PEM: verify the token's signatures on the way."},
    {"kind", AUDIT_KINDS, "Records of this kind."},
    {"who", "TEXT", "Records whose caller contains this."},
    {"what", "TEXT", "Records whose event contains this."},
    {"key", "TEXT", "Records whose key contains this."},
    {"result", "TEXT", "Records whose result contains this."},
    {"trace", "ID", "Records of this trace."},
    {"since", "TIME", "Records from this time on, UTC."},
    {"until", "TIME", "Records up to this time, UTC."},
    {0},
};

cli_table hsm_commands = {
    {.group = "key",
     .name = "init",
     .help = "Make the estate's keys that the token does not have yet (on the HSM host).",
     .run = ceremony_key_init,
     .options = init_options},
    {.group = "key",
     .name = "load-components",
     .help = "Load a key from its custodians' components (on the HSM host).",
     .run = ceremony_load_components,
     .options = load_options},
    CONTROL("key", "list", "ListKeys",
            "List the keys that the HSM service works with, with their check values."),
    PROPOSAL("show", show, "Show one key, who depends on it, and proposals about it."),
    KEYS("destroyed", "ListDestroyedKeys", "List the keys that are no more."),
    PROPOSAL("create", propose_create, "Propose a new key."),
    PROPOSAL("rotate", propose_rotate, "Propose the next version of a key."),
    PROPOSAL("import", propose_import, "Propose to bring a key in."),
    PROPOSAL("activate", propose_activate, "Propose to take a key into use."),
    PROPOSAL("deactivate", propose_deactivate, "Propose to use a key no longer."),
    PROPOSAL("destroy", propose_destroy, "Propose to destroy a key."),
    PROPOSAL("policy-change", propose_policy, "Propose a change of the policy."),
    PROPOSAL("proposals", proposals, "Show what is proposed, and who it waits for."),
    PROPOSAL("approve", approve, "Agree to a proposal of another operator."),
    PROPOSAL("reject", reject, "Close a proposal."),
    KEYS("policy", "GetPolicy", "Show the policy that applies."),
    KEYS("transport-keys", "GetTransportKeys", "Show the public keys under which keys travel to the token."),
    KEYS("submit-component", "SubmitComponent", "Hand in a component that is enciphered for the token."),
    {.group = "audit",
     .name = "verify",
     .help = "Verify an audit log from its files and the public key.",
     .run = audit_cli_verify,
     .options = verify_options},
    {.group = "audit",
     .name = "show",
     .help = "Print records of an audit log.",
     .run = audit_cli_show,
     .options = show_options},
    CONTROL("token", "report", "GetTokenReport", "Show the token and which way each flow takes on it."),
    CONTROL("hsm", "status", "GetStatus", "Show the HSM service's keepers and calls."),
    DATA("diversify-card-key", "DiversifyCardKey", "Make the commands that write a card's TMK."),
    DATA("generate-working-keys", "GenerateWorkingKeys",
         "Make working keys under a card's TMK and as blobs."),
    DATA("generate-mac", "GenerateMac", "Make a MAC."),
    DATA("verify-mac", "VerifyMac", "Verify a MAC."),
    DATA("translate-pin", "TranslatePin", "Translate a PIN block to another key."),
    DATA("encrypt-data", "EncryptData", "Encipher data."),
    DATA("decrypt-data", "DecryptData", "Decipher data."),
    DATA("process-transaction", "ProcessTransaction",
         "Verify a MAC, translate a PIN, decipher a track in one call."),
    DATA("reseal-blobs", "ResealBlobs", "Move key blobs to the current storage and tag keys."),
    DATA("process-batch", "ProcessBatch", "Do many operations in one call."),
    DATA("echo", "Echo", "Send bytes there and back."),
    {0},
};
