/* A key of a server, another one, and what was signed with the first. */
#ifndef SUPPORT_IDENTITY_C
#define SUPPORT_IDENTITY_C

#define KEY "publickeyv1_FAe4sisG95oZ42w7buUn5qEE4TAnfTTFPiguZUHmhiF"
#define OTHER_KEY "publickeyv1_ChjENKeMvCtRnqG2mrBK1HmPKufgFUc98K8B3ononQvp"

/* A token that somebody else made, valid until 2100. */
#define SIGNED_PATH "/invoke/Greeter/greet"
#define SIGNED_TOKEN \
    "eyJ0eXAiOiJKV1QiLCJhbGciOiJFZERTQSIsImtpZCI6InB1YmxpY2tleXYxX0ZBZTRzaXNHOTVvWjQydzdidVVuNXFFRTR" \
    "UQW5mVFRGUGlndVpVSG1oaUYifQ.eyJhdWQiOiIvaW52b2tlL0dyZWV0ZXIvZ3JlZXQiLCJleHAiOjQxMDI0NDQ4MDAsIml" \
    "hdCI6MTcwMDAwMDAwMCwibmJmIjowfQ.9adVuvz0WRCyxW97Ksn9vqlCp1DYQwznzlcu8Ie4YS0bXfDO6Dl8KIqfcWCYqTv" \
    "08sCdnXwoeYhIJVhCRV6IAw"

#endif
