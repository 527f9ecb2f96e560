"""Twenty of the most frequent small words of languages that share a script with others.

Chosen by hand: articles, pronouns, prepositions and conjunctions, which no text of a few sentences can do without.
Where two languages share a word both have it; a single letter is a word too.
"""

from collections.abc import Mapping

SMALL_WORDS: Mapping[str, str] = {
    "en": "a i in on at do as or by if the of and to is that it for was with this are be have not you from they what",
    "de": "der und das den von zu mit sich auf ist im dem nicht ein eine auch nach wird bei wie oder wir ich sie",
    "fr": "le les et des est pour dans une qui pas sur au avec ce sont du il nous vous cette mais ou être",
    "es": "el los las y que en del para por con una como más pero sus fue hay este cómo qué muy también",
    "pt": "o os e do da em um para não uma com mais como mas ao dos das foi seu você são também isso",
    "it": "il di che è per un sono della con non gli si dei alla anche nel come più questo delle cosa ha",
    "nl": "het een van en niet zijn op voor met dat er aan ook als naar wordt bij maar hoe deze heeft",
    "sv": "och att det som på är av för inte den till med har jag ett om så kan från också hur",
    "da": "og det er til at på af for ikke den med har jeg et som der kan fra også hvordan være eller",
    "fi": "ja on ei että se hän mutta oli joka kun ovat niin kuin myös tämä olen sen mitä tai voi",
    "pl": "i w na nie się z do jest to że jak ale czy przez od oraz dla są być tego tym jego które",
    "cs": "a v na se je že s to do jak ale pro jsou která který nebo také jako aby být podle při ve",
    "hu": "az és hogy nem egy is ez van meg csak vagy mint volt ha de mert kell lehet amely hogyan",
    "ro": "și de în la cu pe nu este că din pentru care sunt mai sau prin această dar fi acest cum",
    "tr": "ve bir bu için ile da de çok ne olarak daha gibi olan kadar sonra değil ama nasıl var mi",
    "vi": "và của là có cho không được trong một những người các với này để khi đã như về từ",
    "id": "yang dan di ini itu dengan untuk tidak dari dalam akan pada adalah ke juga atau bisa saya anda",
    "ru": "и в не на что с как это по но из у за от для то он мы вы или так есть был",
    "uk": "і в не на що з як це до та але є від для або він ви ми так про був також",
    "bg": "и в не на да се с за от е по но са като това той или ще при до може също",
    "sr": "и у не на да се је са за од су као али или то који што ће по би овај",
    "ar": "في من على إلى أن هذا التي عن مع هو لا ما كان هذه الذي كيف",
    "fa": "و در به از که این را با است برای آن یک می شود تا کند",
    "ur": "کے میں کی ہے اور سے کا کو پر یہ نے کہ ہیں اس",
    "hi": "है के में की और से का को पर यह ने कि हैं एक",
}
