"""Labeled secrets of every usual kind, made up from a seed, and what only looks like one."""

import random
import string

_RNG = random.Random(20)
_WORD = string.ascii_letters + string.digits
_LOWER = string.ascii_lowercase + string.digits


def made(size, alphabet=_WORD):
    return "".join(_RNG.choices(alphabet, k=size))


def hexadecimal(size):
    return made(size, "0123456789abcdef")


def key_block(kind, lines=4):
    return "\n".join([f"-----BEGIN {kind}-----", *(made(64) for _ in range(lines)), f"-----END {kind}-----"])


def _secrets():  # noqa: PLR0915  a list
    """Yield (kind, text before, secret, text behind)."""
    prefixed = {
        **{"github": ("ghp_", 36, _WORD), "github app": ("ghs_", 36, _WORD), "github fine": ("github_pat_", 60, _WORD)},
        **{"gitlab": ("glpat-", 20, _WORD), "npm": ("npm_", 36, _WORD), "pypi": ("pypi-AgEIcHlwaS5vcmc", 80, _WORD)},
        **{"anthropic": ("sk-ant-api03-", 90, _WORD), "openai project": ("sk-proj-", 48, _WORD)},
        **{"google": ("AIza", 35, _WORD), "google oauth": ("GOCSPX-", 28, _WORD), "hugging face": ("hf_", 34, _WORD)},
        **{
            "stripe": ("sk_live_", 24, _WORD),
            "stripe restricted": ("rk_live_", 24, _WORD),
            "groq": ("gsk_", 52, _WORD),
        },
        **{"replicate": ("r8_", 37, _WORD), "nvidia": ("nvapi-", 64, _WORD), "figma": ("figd_", 40, _WORD)},
        **{"docker": ("dckr_pat_", 27, _WORD), "linear": ("lin_api_", 40, _WORD), "vault": ("hvs.", 30, _WORD)},
        **{"new relic": ("NRAK-", 27, string.ascii_uppercase + string.digits), "netlify": ("nfp_", 36, _WORD)},
        **{"digital ocean": ("dop_v1_", 64, "0123456789abcdef"), "shopify": ("shpat_", 32, "0123456789abcdef")},
        **{"rubygems": ("rubygems_", 48, "0123456789abcdef"), "databricks": ("dapi", 32, "0123456789abcdef")},
        **{"mailgun": ("key-", 32, "0123456789abcdef"), "supabase": ("sbp_", 40, "0123456789abcdef")},
        **{"doppler": ("dp.pt.", 43, _WORD), "grafana": ("glsa_", 41, _WORD), "square": ("sq0atp-", 22, _WORD)},
        **{"square secret": ("sq0csp-", 43, _WORD), "twilio": ("SK", 32, "0123456789abcdef")},
        "aws": ("AKIA", 16, string.ascii_uppercase + string.digits),
    }
    for kind, (prefix, size, alphabet) in prefixed.items():
        yield kind, 'client = connect("', prefix + made(size, alphabet), '")\n'
    number = made(11, "123456789")
    yield "slack", "slack = '", f"xoxb-{number}-{number}-{made(24, _LOWER)}", "'\n"
    yield "slack webhook", "curl ", f"https://hooks.slack.com/services/T{number}/B{number}/{made(24)}", " -d @x\n"
    yield "sendgrid", "use ", f"SG.{made(22)}.{made(43)}", " here"
    yield "openai", "openai.api_key = '", f"sk-{made(20)}T3BlbkFJ{made(20)}", "'"
    yield "mailchimp", "chimp('", f"{hexadecimal(32)}-us12", "')"
    yield "telegram", "bot ", f"{made(9, '123456789')}:AA{made(33)}", "\n"
    yield "discord", "run('", f"M{made(23)}.{made(6)}.{made(27)}", "')"
    yield "jwt", "jwt ", f"eyJ{made(30)}.eyJ{made(60)}.{made(43)}", "\n"
    yield "azure storage", "AccountName=shop;AccountKey=", f"{made(86)}==", ";EndpointSuffix=core"
    yield "azure sas", "https://shop.blob.core/x?sv=2022&sig=", made(43) + "%3D", "&se=2030"
    yield "aws secret", "aws_secret_access_key = ", made(40), "\n"
    yield "rsa", "", key_block("RSA PRIVATE KEY"), "\n"
    yield "openssh", "", key_block("OPENSSH PRIVATE KEY"), "\n"
    yield "pgp", "", key_block("PGP PRIVATE KEY BLOCK"), "\n"
    yield "pkcs8", "", key_block("PRIVATE KEY"), "\n"
    yield "django", "SECRET_KEY = 'django-insecure-", made(30) + "#&!$^*+" + made(8), "'\n"
    yield "env key", "DEBUG=1\nAPI_KEY=", made(32), "\nPORT=80\n"
    yield "env exported", "export SERVICE_TOKEN=", made(40), "\n"
    yield "env password", "DB_PASSWORD=", "tr4in!Lake" + made(3), "\n"
    yield "environ", "os.environ['API_KEY'] = '", made(32), "'\n"
    yield "environ token", 'os.environ["HUB_TOKEN"]="', made(24), '"\n'
    yield "yaml", "service:\n  api_key: ", made(32), "\n  port: 1\n"
    yield "json", '{"client_secret": "', made(32), '"}'
    yield "bearer", "curl -H 'Authorization: Bearer ", made(40), "' https://shop.io\n"
    yield "basic", '"Authorization": "Basic ', made(32) + "==", '"'
    yield "header", "X-Api-Key: ", hexadecimal(32), "\n"
    yield "query", "GET https://shop.io/v1?api_key=", made(32), "&page=1\n"
    yield "query token", "https://shop.io/v1?access_token=", made(40), "\n"
    yield "url password", "postgres://shop:", "Lake7" + made(6), "@db.shop.io:5432/x\n"
    yield "quoted password", "password = '", "hunter2!", "'\n"
    yield "argument", "login(user='jo', password='", "s3cr7-Lake", "')\n"
    yield "dictionary", "{'user': 'jo', 'password': '", "gr33n!sea", "'}\n"
    yield "go", 'apiKey := "', made(32), '"\n'
    yield "typescript", 'const authToken: string = "', made(36), '";\n'
    yield "php", "'secret_key' => '", made(32), "',\n"
    yield "toml", 'token = "', made(28), '"\n'
    yield "mail", "by jane.doe@", "mailhost.org", "\n"
    yield "ip", "ssh root@", "203.0.114.77", "\n"
    yield "ip6", "ping ", "2606:4700:4700::1111", "\n"


SECRETS = tuple(_secrets())
HARMLESS = (
    "LayoutLMv3TokenizerFast = LayoutLMv3Tokenizer",
    *("attention = softmax(q@k.transpose(-2, -1))", "x = a@b.T", "scores = q@k.mT @ v", "y = self.w@x.flatten()"),
    *("<img src='logo@2x.png'>", "background: url(icon@3x.svg)", "pip install foo==1.2.3.4", "numpy>=1.26.4.2"),
    *(
        "4.2.1.3 Results",
        "see section 4.2.1.3 and chapter 1.2.3.4",
        "version 1.2.3.4",
        '"version": "11.0.2.1"',
        "v10.1.2.3",
    ),
    *(
        "class SecretTokenAuthentication2Backend:",
        'token_class = "BertWordPieceTokenizerFast"',
        "password: PasswordField",
    ),
    *(
        "token = 'WordPieceTokenizerV2'",
        "secret = get_secret('database')",
        "password = 'changeme'",
        "password = os.getenv('PW')",
    ),
    *(
        "token = 'aaaaaaaaaaaaaaaaaaaaaaaa'",
        "API_KEY=your_api_key_here",
        "api_key: ${API_KEY}",
        "password = '<your password>'",
    ),
    *(
        "key = 'the_quick_brown_fox_1'",
        "sort(key=lambda row: row.value)",
        "tokens = tokenizer.encode(text)",
        "pad_token='[PAD]'",
    ),
    *(
        "user@example.com",
        "listen on 127.0.0.1 and 192.168.1.1",
        "postgres://user:password@localhost/x",
        "eos_token_id=50256",
    ),
    *(
        "self.token_embedding = nn.Embedding(50257, 768)",
        "password_hash = bcrypt.hash(password)",
        "if token == 'identifier_1':",
    ),
    *(
        "https://shop.io/v1?key=value",
        "https://shop.io/?token={token}",
        "f'Authorization: Bearer {token}'",
        "Authorization: Bearer <token>",
    ),
    *(
        "@app.route('/x')",
        "git@github.com:owner/name.git",
        "commit 3f786850e387550fdab836ed7e6dc881de23001b",
        "md5: d41d8cd98f00b204e9800998ecf8427e",
    ),
    *(
        "import secrets; secrets.token_hex(16)",
        "const SECRET_NAME = 'database-password'",
        "tokenizer='bert-base-uncased'",
    ),
    *(
        "key-value store",
        "the password must have 8 characters",
        "secret_santa = draw(names)",
        "AKIA is a prefix",
        "1.3.6.1.4.1.311 is an OID",
    ),
    *(
        "access_key=AccessKey.objects.get(id=1)",
        "TOKEN=$(cat token.txt)",
        "csrf_token = request.form['csrf_token']",
        "password=password1_field",
    ),
)
