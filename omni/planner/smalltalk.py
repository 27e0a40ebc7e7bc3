"""Requests that need no tool: the model simply talks. The class "none" of the router.

They cover what people say to an assistant that has no tool for it: greetings, thanks, feelings,
opinions, general knowledge, language, ideas, and remarks about the conversation itself.
"""

NO_TOOL_EXAMPLES: tuple[str, ...] = tuple(
    line.strip()
    for line in """
    hello
    hi there
    how are you doing
    nice to meet you
    good evening
    bye, see you later
    thank you very much
    great, you are a star
    okay cool
    yes
    no
    that's fine
    never mind
    what is your name
    what can you do
    are you a robot
    who made you
    do you have feelings
    I am so tired
    I feel lonely
    I had a wonderful day
    I'm nervous about my exam
    I am bored
    tell me something funny
    tell me a story about a dragon
    do you know a riddle
    sing me a song
    make up a limerick
    write a birthday greeting for my aunt
    help me word a polite refusal
    why do leaves turn red
    how do airplanes fly
    what causes earthquakes
    who was Napoleon
    who invented the telephone
    when did the second world war end
    which is the largest planet
    where do penguins live
    what is a black hole
    what is gravity
    what does inflation mean
    how does a vaccine work
    what is machine learning
    how many legs does a spider have
    what is the word for bread in Italian
    what does serendipity mean
    how do you spell necessary
    what is another word for happy
    is a tomato a fruit or a vegetable
    what goes well with rice
    how do I bake sourdough bread
    give me some tips for sleeping better
    suggest a name for my cat
    any ideas for a weekend trip
    recommend a good book
    how do I get rid of hiccups
    what should I wear to a wedding
    what is your opinion on modern art
    is coffee bad for you
    do you like music
    should I learn piano or guitar
    what did you just say
    speak louder please
    that was too complicated, put it simply
    go on
    what do you mean
    that is not what I meant
    stop talking
    shorter please
    are you sure about that
    good afternoon, nice to hear you
    how was your night
    that's all, thanks
    thanks, you have been a great help
    wait a moment please
    hold on, somebody is at the door
    one second
    forget it, it doesn't matter
    leave it, it was nothing
    don't worry about it
    no thanks, I don't need anything
    what's new
    how is it going
    is everything all right with you
    sorry, I was talking to somebody else
    tell me something interesting
    let's have a chat
    why is the sky blue
    why does bread rise
    why do onions make you cry
    who wrote Hamlet
    who composed the Moonlight Sonata
    what is the capital of Australia
    what's the difference between a frog and a toad
    what is the difference between weather and climate
    what is the longest river in the world
    how far is the sun from the earth
    how far away is the nearest star
    how high is the Eiffel tower
    how long do elephants live
    how long does it take to boil potatoes
    how long does rice keep in the fridge
    how many players are in a football team
    how many bones does a human have
    how old can a tortoise get
    how do you make an omelette
    how does a camera work
    how do touch screens work
    how does a computer store pictures
    how does human memory work
    how did people tell the time before there were clocks
    what makes a good photograph
    who invented the camera
    who invented the alarm clock
    who invented the blackboard
    why are blackboards green in some schools
    why are whiteboards so hard to clean
    what are whiteboards made of
    what ink is in whiteboard pens
    why do photos fade in the sun
    why do screens flicker on film
    why do people lose their memory when they get old
    why is my memory so bad lately
    is it normal to forget names at my age
    my memory isn't what it used to be
    I keep forgetting where I put my glasses
    is it bad for children to look at screens
    people look at their phones all the time
    I spend far too much time in front of the screen
    staring at a monitor all day gives me a headache
    I hate alarms in the morning
    I always get nervous when a timer ticks
    kitchen timers are so annoying
    countdowns stress me out
    reminders drive me crazy
    no, I don't want a timer for that
    you don't need to remind me
    I love old photographs
    I like pictures of cats, they make me smile
    taking photos is my hobby
    my mother was a photographer
    I look terrible in pictures
    cameras were so expensive back then
    videos on the internet are mostly rubbish
    I hardly ever watch films
    I watched a video about whales yesterday
    paper documents are a nuisance
    I hate filling in forms
    nobody ever reads the manual
    instruction manuals are so badly written
    contracts are written by lawyers for lawyers
    receipts always fade in my wallet
    everything has become so expensive
    I was never good at maths
    maths was my favourite subject at school
    equations scare me
    what is algebra good for
    what is a parabola
    what is recursion
    what does object oriented mean
    explain in one sentence what an algorithm is
    what is an operating system
    what is the best programming language for beginners
    my code never works the first time
    my computer is full of files I never open
    my desk is such a mess
    websites are full of advertising these days
    what is the internet
    time flies
    time is money, they say
    I never have enough time
    where did the time go
    what is time
    I was late again today
    is it better to get up early or late
    remember the good old days
    remember when we all wrote letters
    do you remember what life was like without the internet
    those were the days
    I remember my grandfather telling stories
    I'll never forget that summer
    don't forget to smile
    I forgive and forget
    that reminds me of my childhood
    this song reminds me of my school days
    I can't draw at all
    my daughter likes drawing horses
    I would love to be able to paint
    teachers have a hard job
    are you watching me all the time
    can you really see
    do you sleep
    do you ever forget things
    can you keep a secret
    what are you thinking about
    what would you do in my place
    which colour goes with dark green
    what is a good present for a ten year old
    what could I cook tonight with pasta and tomatoes
    what's a nice word for stubborn
    how do I say good night in Japanese
    translate I am hungry into Spanish
    what does the saying a stitch in time saves nine mean
    write me a short poem about the autumn
    invent a bedtime story with a fox
    write an apology to my neighbour
    tell me a joke about programmers
    tell me a fun fact about octopuses
    make up a slogan for a bakery
    how can I stop worrying so much
    how do I calm down a crying baby
    how do I remove a wine stain
    how do I become better at remembering names
    how can I take better photos
    my back hurts
    it's raining cats and dogs here
    the weather is lovely today
    the train was late and I missed my meeting
    work was exhausting today
    my boss is driving me mad
    I got the job
    we are expecting a baby
    I have a cold and feel miserable
    I'm so proud of my son
    the neighbours are loud again
    I had spaghetti for lunch
    I'm going to bed now
    it's my birthday today
    that's wrong
    say that again please
    could you repeat that
    I didn't understand a word
    talk more slowly please
    explain it to me like I'm five
    can you give me an example
    interesting, tell me more about it
    I don't believe you
    you are funny
    that's not very helpful
    what's going on
    """.strip().splitlines()
)
