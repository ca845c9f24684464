"""
Word lists: what a word says about the work that a prompt asks for, and about its subject.

Written by hand, whole words in lower case; a plural in -s is found by its singular too.
"""

WORK: dict[str, str] = {  # named features of difficulty
    "code": "api array async backend bug class code compile compiler css database dataframe debug"
    " docker endpoint exception frontend function git html implement implementation java"
    " javascript json kubernetes library method microservice module multithreaded parser php"
    " program programming python query react refactor regex regexp rust schema script sql stack"
    " test tests thread traceback typescript unit yaml",
    "mathematics": "algebra calculate calculus combinatorics compute coordinates cosine derivative"
    " determinant differential divisible eigenvalue eigenvalues equation equations expectation"
    " exponent factorial formula fraction function geometry gradient graph hypothesis inequality"
    " integer integers integral integrate lemma limit logarithm math mathematical mathematics"
    " matrix modulo multiply optimum permutation polynomial prime probability proof"
    " prove quadratic ratio regression remainder root sequence series simplify sine solve sqrt"
    " square statistic statistics sum theorem triangle variance vector",
    "reasoning": "analyse analysis analyze architect architecture argue argument assess compare"
    " comparison consequence consequences contrast critique deduce deep derive design diagnose"
    " distinguish evaluate evidence explain explanation implications infer interpret investigate"
    " justify optimal optimise optimize plan prove rationale reason reasoning recommend"
    " recommendation research scenario strategies strategy synthesize thorough tradeoff tradeoffs"
    " trade-off trade-offs why",
    "steps": "after afterwards before finally first firstly following last lastly next part parts"
    " phase phases second secondly sequentially stage stages step steps step-by-step subsequently"
    " then third",
    "conditions": "although assume assuming case cases depending either else given if otherwise"
    " provided suppose supposing though unless until when whenever whereas whether while",
    "constraints": "all always any avoid between both bullet bullets each ensure every"
    " exact exactly fewer format include including least limit limited maximum minimum more must"
    " only precisely required requirement requirements respectively should table within words",
    "negation": "aren't can't cannot didn't doesn't don't except excluding false incorrect isn't"
    " mustn't neither never no nobody none nor not nothing shouldn't won't without wouldn't wrong",
    "people": "he her hers him his i me my our she their them they us we"
    " boy brother buyer child client customer daughter defendant employee employer father friend"
    " girl husband man mother neighbor owner parent patient plaintiff seller sister son student"
    " teacher tenant wife woman worker",
    "greeting": "bye cheers greetings hello hey hi howdy morning thank thanks welcome yo",
    "lookup": "abbreviation acronym address antonym birthday capital colour color currency date"
    " define definition located meaning name plural population pronounce spell synonym"
    " tallest when where who whose year",
    "translation": "arabic chinese dutch french german hindi italian japanese korean polish"
    " portuguese russian spanish swedish translate translation turkish",
    "creative": "birthday caption creative fairytale fiction funny haiku joke jokes limerick lyrics"
    " poem poems poetry rhyme slogan song sonnet story tagline tale tweet",
}

SUBJECTS: dict[str, str] = {  # what a prompt is about: no matter of difficulty in itself
    "science": "acceleration acid acidic algae alkali alkane allele amino ampere amplitude"
    " angular animal anion aqueous asteroid astronomy atmosphere atom atomic bacteria base bird"
    " blood bond capacitor carbon catalyst cation cell cellular charge chemical chemistry chloride"
    " chloroplast chromosome circuit climate cloud coil collision comet compound concentration"
    " conductor continent core covalent crust crystal current cytoplasm density desert diode"
    " displacement dissolve dna dominant earth earthquake eclipse ecosystem egg electric"
    " electrical electricity electron element embryo energy enzyme equilibrium erosion ethanol"
    " eukaryotic evolution evolve fish flood flower force forest fossil frequency friction fungi"
    " galaxy gamete gas gene generator genetic genome genotype geologic glacier gravity habitat"
    " heat heredity hormone hurricane hydrogen hydroxide inductance inertia inherit insect ion"
    " ionic island isotope joule jupiter kelvin kinetic lake latitude lava leaf lens light lithium"
    " magnet magnetic mammal mantle mars mass mechanics meiosis membrane mercury metabolism metal"
    " mineral mitochondria mitosis mixture molar mole molecular molecule momentum moon motion"
    " motor mountain mutation newton nitrogen nucleus ocean offspring optical orbit organ organism"
    " oscillate ovary oxidation oxide oxygen particle pathogen pendulum periodic ph phenotype"
    " photon photosynthesis planet plant plasma plate pollen polymer population potassium"
    " potential power precipitate predator pressure prey prokaryotic protein pulley quantum"
    " radiation rain reactance reactant reaction reagent receptor recessive redox reproduction"
    " resistance resistor ribosome river rna rock root rotate salt satellite saturn sea season"
    " sediment seed selection sodium soil solar solubility solution solvent species speed sperm"
    " spring star storm sulfur sun synapse telescope temperature thermal thermodynamic tide"
    " titration torque trait transcription transformer tree universe uranus vacuum valence"
    " velocity venus vertebrate viral virus volcano volt voltage volume water watt wave wavelength"
    " weather weight wind wire",
    "health": "abdominal acute adolescent aggression anemia antibiotic antibody anxiety aptitude"
    " artery asthma attachment attention attitude bacterial behavior behavioral biopsy bleeding"
    " blood bone breast cancer carcinoma cardiac child childhood chronic client clinic clinical"
    " cognitive conditioning conscious cough counseling counselor deficiency dementia depression"
    " development developmental diabetes diagnosis disease disorder doctor dose drug edema ego"
    " emotion emotional empathy epilepsy examination fever fracture freud gender gland glucose"
    " health heart hepatitis hospital hypertension immune infant infection inflammation inhibitor"
    " insulin intelligence joint kidney learning lesion liver lung marriage medical medication"
    " medicine memory mental mg motivation muscle nausea nerve neuron nurse pain parent patient"
    " perception personality physical physician piaget pregnancy prescription psychological"
    " psychologist psychology psychotherapy reinforcement relationship renal respiratory role"
    " schizophrenia self sexual skin social socialization spinal stereotype stimulus stress stroke"
    " subject surgery surgical symptom syndrome tablet teacher temperament therapist therapy"
    " tissue treatment tumor ulcer urine vaccine vein virus vomiting",
    "society": "account accountant accounting accused acquit administration advertising agreement"
    " amendment american appeal arbitration asset attorney audit auditor bail balance brand breach"
    " budget bureaucracy business bylaw campaign candidate ceo clause cold committee communist"
    " company conflict congress congressional consent conservative constitution constitutional"
    " contract convict corporate corporation council court covenant crime criminal customer"
    " damages deed defendant defense democracy democrat democratic department diplomatic earnings"
    " easement election electoral employee employer enterprise entity equity ethical evidence"
    " expense federal felony financial firm fiscal foreign fraud fund government governor guilty"
    " hearsay homicide house ideology illegal indictment injunction interest international"
    " inventory judge judgment jurisdiction jury landlord larceny law lawful lawsuit lawyer"
    " leadership lease ledger legal legislation legislative legislature liability liable libel"
    " liberal litigation malice management manager manufacturing marketing merger minister"
    " mortgage murder nation national nato negligence negligent net nuclear offense ordinance"
    " organisational organization parliament partner partnership party plaintiff police policy"
    " political politics president presidential product project property prosecution prosecutor"
    " public relations report republic republican retail rights robbery ruling sales security"
    " senate senator sentence shareholder sovereign sovereignty soviet stakeholder state statement"
    " statute strategy sue sued supplier supreme tenant testify testimony theft tort transaction"
    " treaty trespass trial union united unlawful verdict veto vote voter warrant witness",
    "arts": "actor actress album artist author award band book broadway cartoon celebrity"
    " character cinema comic composer director drama episode film game guitar hero hollywood lyric"
    " magazine movie museum music musical novel opera oscar painter painting play player poet pop"
    " prize radio record rock role series show singer song sport star team television theater"
    " title tour tv winner won writer",
    "daily": "bake bathroom bed bicycle bottle box breakfast bus buy cake candy car cat chair"
    " class clean clothes coffee cook cookie cup day dinner dish dog door drink drive eat egg"
    " family farm feet floor food fruit game garden gave guest hair hour house kid kitchen lunch"
    " meal milk minute money office paper party pet pizza play pound purchase restaurant room"
    " school sell shelf shirt shoe shop sleep spend store street sugar table toy train walk wash"
    " week weekend window",
    "figures": "additional altogether average cent coin combined cost double dozen each earn"
    " equal extra fewer first half hour least left less many mile more much number once pair per"
    " percent percentage quarter remaining rest same sell spent sum third times total twice weigh",
    "shapes": "angle area axis base bisect center chord circle circumference cone coordinate cube"
    " cylinder degree diagonal diagram diameter distance edge ellipse figure height hexagon"
    " hypotenuse intersect length line midpoint octagon parabola parallel parallelogram perimeter"
    " perpendicular plane point polygon prism pyramid radian radius rectangle segment side slope"
    " sphere square tangent triangle unit vertex vertices width",
}

_ORDERS = (
    "calculate complete compute convert create describe design determine evaluate explain express"
    " find generate give implement let list name prove show simplify solve summarize suppose"
    " translate write"
)
_GLUE = (  # words that hold a sentence together and carry little of its meaning
    "a an and are as at be by for from had has have in is it of on or that the this to was were"
    " with"
)
ORDERS, GLUE = frozenset(_ORDERS.split()), frozenset(_GLUE.split())
WHO = ("who", "whose", "whom", "where", "when")
