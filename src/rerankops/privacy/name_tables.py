"""Word lists for recognising names: surnames, and words that begin like a name but are not one."""

SURNAMES = (
    "王李张刘陈杨黄赵吴周徐孙马朱胡郭何林高罗郑梁谢宋唐许韩冯邓曹彭曾肖田董袁潘于蒋蔡余杜叶程苏魏吕丁任沈"
    "姚卢姜崔钟谭陆汪范金石廖贾夏韦付方白邹孟熊秦邱江尹薛闫段雷侯龙史陶黎贺顾毛郝龚邵万钱严覃武戴莫孔向汤"
    "傅萧倪俞鲁葛伍毕聂焦柳邢骆岳祁涂耿詹凌靳翁隋裴霍鲍阮柯甄屈沙单乜阎季尤解鞠左项游纪米苗冉麦"
    "張劉陳楊黃趙吳孫馬羅鄭謝許韓馮鄧蕭葉蘇呂盧鍾譚陸範賈韋鄒閻龍賀顧龔錢嚴莊"
)
"""The hundred most frequent surnames of China and some sixty more that are seldom ordinary words, in both spellings."""
COMPOUND = "(?:欧阳|歐陽|司马|司徒|上官|诸葛|东方|皇甫|尉迟|公孙|慕容|令狐|夏侯|端木|司空|轩辕)"
NO_NAME = (
    "马自达|马六|江淮|江铃|金杯|金龙|金牛|雷诺|雷凌|雷克萨斯|高尔夫|林肯|夏利|夏朗|陆风|陆放|万得|方程豹|黄海|金康|唐D|宋P|秦P|汉E|"
    "江苏|江西|苏州|徐州|郑州|武汉|沈阳|黄山|石家庄|张家|高中生|高德|马上|万一|方便|白领|金融|任何|高配|高速|高压|高温|金属|金色|白色|黄色|"
    "方向|马力|石子|路特|单位|单手|单车|单独|解锁|解除|左右|左边|左侧|游客|米其|项目|严重|向前|向后|向左|向右|于是|程序|毛病|雷达|雷电|"
    "龙头|江边|田野|叶子|石头|沙发|季度|季节|单踏|单向|左前|左后|任意|万能|金卡|高级|高档|白天|方面|余额|余量|钟头|时候|常用"
)
"""Makes, models, places and words that begin like a name."""
NO_GIVEN_NAME = "色版配款型车主级户系的了么很太是时便速不在没会要想说问也都和就能可给把被让吗呢吧啊"
MAKES = (
    "马自达|罗密欧|高尔夫|比亚迪|特斯拉|保时捷|奔驰|宝马|奥迪|大众|丰田|本田|红旗|长安|吉利|荣威|埃尔法|兰博基尼|法拉利"
)
TRANSLITERATED = (
    "[买提阿江古丽尔木拉热依吐力汗麦合巴努斯克达娜孜甫帕迪艾尼亚玉素伊卜吾布都海米日再努艾山沙库扎洛桑次仁卓玛扎西央金顿珠格桑多吉平措旺"
    "堆普布德罗苏来曼穆罕默德萨比特热娃孜热提别克叶那哈什古扎丽库尔班江玛合木提艾则孜牙生肉孜尼牙赛买合买提图尔荪吐逊祖农古力坎加帕]"
)
"""Characters used to write Uyghur, Kazakh and Tibetan names."""
NO_ENGLISH_NAME = (
    "Ready|Sorry|Happy|Glad|Sure|Fine|Lost|Stuck|Done|Using|Driving|Trying|Looking|Hybrid|Sport|Comfort|Normal|Eco|"
    "Chinese|German|English|American|British|French|New|The|My|Your|Our|Not|No|Urgent|Great|Good|Bad|Wrong|Apple|Android|"
    "Tesla|Toyota|Honda|Ford|BMW|Audi|Mercedes|Volkswagen|Nissan|Hyundai|Kia|Mazda|Owner|Here|How|What|Why|When|Where|"
    "Is|Are|Can|Do|Does|Customer|Support|Service|Dealer|Manual|Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday|"
    "January|February|March|April|May|June|July|August|September|October|November|December|For|If|In|On|It|This|That|Model"
)
