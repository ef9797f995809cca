/* Inside keeper/ only: the use cases, one per method, by subject. */
#ifndef POSWARD_HSM_SERVICE_KEEPER_CASES_H
#define POSWARD_HSM_SERVICE_KEEPER_CASES_H

#include "hsm-service/keeper/arena.h"
#include "hsm-service/keeper/policy.h"
#include "p11/flow/flows.h"
#include "posward/hsm/v1/hsm.pb-c.h"

/* Short names of the generated messages. */
typedef Posward__Hsm__V1__KeyRef HsmKeyRef;
typedef Posward__Hsm__V1__DiversifyCardKeyRequest HsmDiversifyRequest;
typedef Posward__Hsm__V1__DiversifyCardKeyResponse HsmDiversifyResponse;
typedef Posward__Hsm__V1__GenerateWorkingKeysRequest HsmWorkingRequest;
typedef Posward__Hsm__V1__GenerateWorkingKeysResponse HsmWorkingResponse;
typedef Posward__Hsm__V1__WorkingKeySpec HsmWorkingSpec;
typedef Posward__Hsm__V1__WorkingKey HsmWorkingKey;
typedef Posward__Hsm__V1__ResealBlobsRequest HsmResealRequest;
typedef Posward__Hsm__V1__ResealBlobsResponse HsmResealResponse;
typedef Posward__Hsm__V1__ResealResult HsmResealResult;
typedef Posward__Hsm__V1__GenerateMacRequest HsmMacRequest;
typedef Posward__Hsm__V1__GenerateMacResponse HsmMacResponse;
typedef Posward__Hsm__V1__VerifyMacRequest HsmVerifyRequest;
typedef Posward__Hsm__V1__VerifyMacResponse HsmVerifyResponse;
typedef Posward__Hsm__V1__TranslatePinRequest HsmPinRequest;
typedef Posward__Hsm__V1__TranslatePinResponse HsmPinResponse;
typedef Posward__Hsm__V1__EncryptDataRequest HsmEncryptRequest;
typedef Posward__Hsm__V1__EncryptDataResponse HsmEncryptResponse;
typedef Posward__Hsm__V1__DecryptDataRequest HsmDecryptRequest;
typedef Posward__Hsm__V1__DecryptDataResponse HsmDecryptResponse;
typedef Posward__Hsm__V1__ProcessTransactionRequest HsmTransactionRequest;
typedef Posward__Hsm__V1__ProcessTransactionResponse HsmTransactionResponse;
typedef Posward__Hsm__V1__ProcessBatchRequest HsmBatchRequest;
typedef Posward__Hsm__V1__ProcessBatchResponse HsmBatchResponse;
typedef Posward__Hsm__V1__Key HsmKey;

/* One request at work. */
struct keeper_call {
    struct tok *tok;
    struct tok_session *session; /* NULL: none is borrowed yet */
    struct arena *arena;
    int64_t deadline_ms;                /* of clock_monotonic_ms; a batch ends there */
    const struct keeper_policy *policy; /* never NULL */
    const uint8_t *refused; /* items of a batch that may not run, as in struct ipc_frame; NULL: none */
    uint16_t item;          /* of the batch that is at work; 0 for a call of its own */
    uint8_t *pin_uses;      /* packed, room for IPC_PIN_USES_MAX: what the front counts (ipc.h) */
    size_t pin_use_count;
    bool token_away;     /* it failed on a session that was opened anew: no further part of the call tries */
    uint32_t operations; /* what it cost so far */
};

/* `request` and `response` are of the method's own types; `response` is initialised and lives in the arena.
 */
typedef enum err_code (*keeper_case)(struct keeper_call *call, const ProtobufCMessage *request,
                                     ProtobufCMessage *response, struct err *e);

enum err_code case_diversify(struct keeper_call *call, const ProtobufCMessage *request,
                             ProtobufCMessage *response, struct err *e) MUST_CHECK;
enum err_code case_working_keys(struct keeper_call *call, const ProtobufCMessage *request,
                                ProtobufCMessage *response, struct err *e) MUST_CHECK;
enum err_code case_generate_mac(struct keeper_call *call, const ProtobufCMessage *request,
                                ProtobufCMessage *response, struct err *e) MUST_CHECK;
enum err_code case_verify_mac(struct keeper_call *call, const ProtobufCMessage *request,
                              ProtobufCMessage *response, struct err *e) MUST_CHECK;
enum err_code case_translate_pin(struct keeper_call *call, const ProtobufCMessage *request,
                                 ProtobufCMessage *response, struct err *e) MUST_CHECK;
enum err_code case_encrypt(struct keeper_call *call, const ProtobufCMessage *request,
                           ProtobufCMessage *response, struct err *e) MUST_CHECK;
enum err_code case_decrypt(struct keeper_call *call, const ProtobufCMessage *request,
                           ProtobufCMessage *response, struct err *e) MUST_CHECK;
enum err_code case_transaction(struct keeper_call *call, const ProtobufCMessage *request,
                               ProtobufCMessage *response, struct err *e) MUST_CHECK;
enum err_code case_batch(struct keeper_call *call, const ProtobufCMessage *request,
                         ProtobufCMessage *response, struct err *e) MUST_CHECK;
enum err_code case_reseal(struct keeper_call *call, const ProtobufCMessage *request,
                          ProtobufCMessage *response, struct err *e) MUST_CHECK;
enum err_code case_token_report(struct keeper_call *call, const ProtobufCMessage *request,
                                ProtobufCMessage *response, struct err *e) MUST_CHECK;
enum err_code case_list_keys(struct keeper_call *call, const ProtobufCMessage *request,
                             ProtobufCMessage *response, struct err *e) MUST_CHECK;

/* One translation, whose request is whole: the token does it, and it is noted for the front to count. */
enum err_code pin_translate(struct keeper_call *call, struct tok_pin_request *pin, HsmPinResponse *out,
                            struct err *e) MUST_CHECK;

/* A use case and what it answers. */
struct keeper_use {
    keeper_case run;
    const ProtobufCMessageDescriptor *answer;
    bool needs_session;
};
/* Run a use case into a fresh answer. A session that dies under it (ERR_UNAVAILABLE) is discarded and the
 * case run once more on a new one: all of them may be repeated. The session stays borrowed in `call`. */
enum err_code case_run(struct keeper_call *call, const struct keeper_use *use,
                       const ProtobufCMessage *request, ProtobufCMessage **out_answer,
                       struct err *e) MUST_CHECK;

/* A key that was used is a blob, and not under the keys that are current. */
bool case_is_stale(const struct keeper_call *call, const struct tok_key_ref *ref);

/* A key as ListKeys and KeyOutcome say it. */
enum err_code case_fill_key(struct keeper_call *call, const struct tok_key_info *info, HsmKey *out,
                            struct err *e) MUST_CHECK;

/* A packed message of `descriptor` into the arena, and back. ERR_LIMIT too large; ERR_INPUT it is none. */
enum err_code case_unpack(struct keeper_call *call, const ProtobufCMessageDescriptor *descriptor,
                          const uint8_t *body, size_t len, ProtobufCMessage **out_message,
                          struct err *e) MUST_CHECK;
enum err_code case_pack(struct keeper_call *call, const ProtobufCMessage *message,
                        ProtobufCBinaryData *out_answer, struct err *e) MUST_CHECK;

/* A zeroed message of `descriptor`, initialised, in the arena. */
enum err_code case_message(struct keeper_call *call, const ProtobufCMessageDescriptor *descriptor,
                           ProtobufCMessage **out_message, struct err *e) MUST_CHECK;

#endif
